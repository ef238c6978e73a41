//! Keys, logins and names that let a node in.

use bowline_proto::{
    identity::v1::{ApproveLoginRequest, Role, login_service_client::LoginServiceClient},
    key_registry::v1::{PreAuthKey, RefusalReason, RegisterRequest, register_response::Outcome},
};
use bowline_test_support::{TestServices, on_both};
use futures_util::future::join_all;

use crate::request::{refusal, request, with_key};

on_both!(TestServices::start =>
    one_off_key_registers_one_node_however_many_try,
    restart_with_a_used_up_key_succeeds,
    one_off_key_is_used_up_once_by_a_request_that_is_sent_again,
    followed_up_login_makes_one_node,
    names_and_addresses_are_unique,
    requested_tags_need_an_owner,
    credentials_of_another_tailnet_than_the_one_asked_for_are_refused,
    join_asks_identity_once_and_is_answered_with_the_names_of_its_owner,
    owners_of_registrations_that_come_together_are_asked_for_together,
);

async fn one_off_key_registers_one_node_however_many_try(services: TestServices) {
    let key = services.new_user_key(false).await;
    let tries = (1..=32).map(|number| services.register(with_key(number, 100 + number, &key)));
    let mut registered = 0;
    for outcome in join_all(tries).await {
        match outcome {
            Outcome::Registered(_) => registered += 1,
            other => assert_eq!(refusal(other), RefusalReason::PreAuthKeyUsed),
        }
    }
    assert_eq!(registered, 1);
    let wrong = services
        .register(with_key(1, 200, "bowline-auth-000000000000-00"))
        .await;
    assert_eq!(refusal(wrong), RefusalReason::PreAuthKeyInvalid);
}

async fn restart_with_a_used_up_key_succeeds(services: TestServices) {
    let key = services.new_user_key(false).await;
    let first = services.register_node(with_key(1, 101, &key)).await;
    let again = services.register_node(with_key(1, 101, &key)).await;
    assert_eq!((first.id, first.ipv4), (again.id, again.ipv4));
}

async fn one_off_key_is_used_up_once_by_a_request_that_is_sent_again(services: TestServices) {
    // Some of the tries find the key used up that another has used meanwhile.
    for machine in 1..=20 {
        let key = services.new_user_key(false).await;
        let tries = (0..8).map(|_| services.register_node(with_key(machine, 100 + machine, &key)));
        let nodes = futures_util::future::join_all(tries).await;
        assert!(nodes.iter().all(|node| node.id == nodes[0].id));
    }
}

async fn followed_up_login_makes_one_node(services: TestServices) {
    let Outcome::LoginNeeded(needed) = services.register(request(1, 101)).await else {
        panic!("a login is needed")
    };
    let followup = RegisterRequest {
        login_id: needed.login_id.clone(),
        ..request(1, 101)
    };
    let pending = services.register(followup.clone()).await;
    assert!(matches!(pending, Outcome::LoginNeeded(again) if again.login_id == needed.login_id));
    let approve = ApproveLoginRequest {
        login_id: needed.login_id.clone(),
        tailnet_id: services.tailnet,
        user_id: services.user.id,
    };
    LoginServiceClient::new(services.admin())
        .approve_login(approve)
        .await
        .unwrap();
    // Another device that follows up the same login gets one of its own.
    let thief = RegisterRequest {
        login_id: needed.login_id.clone(),
        ..request(2, 102)
    };
    let other = services.register(thief).await;
    assert!(matches!(other, Outcome::LoginNeeded(new) if new.login_id != needed.login_id));
    let first = services.register_node(followup.clone()).await;
    assert_eq!(
        services.register_node(followup).await.id,
        first.id,
        "a lost answer is given again"
    );
}

async fn names_and_addresses_are_unique(services: TestServices) {
    let key = services.new_user_key(true).await;
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    for number in 1..=4 {
        let node = services
            .register_node(with_key(number, 100 + number, &key))
            .await;
        names.push(node.name);
        addresses.push((node.ipv4, node.ipv6));
    }
    assert_eq!(names, ["laptop", "laptop-1", "laptop-2", "laptop-3"]);
    assert_eq!(addresses[0].0, "100.64.0.1");
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4);
}

async fn credentials_of_another_tailnet_than_the_one_asked_for_are_refused(services: TestServices) {
    let key = services.new_user_key(false).await;
    let elsewhere = RegisterRequest {
        required_tailnet: "work".to_owned(),
        ..with_key(1, 101, &key)
    };
    let Outcome::Refused(refused) = services.register(elsewhere).await else {
        panic!("the key is for home")
    };
    assert_eq!(refused.reason(), RefusalReason::OtherTailnet);
    let says = r#"take credentials of "work", or let the device ask for "home""#;
    assert!(refused.text.contains(says), "{}", refused.text);
    // That has not used up the key.
    let here = RegisterRequest {
        required_tailnet: "home".to_owned(),
        ..with_key(1, 101, &key)
    };
    services.register_node(here).await;
}

async fn requested_tags_need_an_owner(services: TestServices) {
    let key = services.new_user_key(true).await;
    let requested_tags = vec!["tag:web".to_owned()];
    let refused = services
        .register(RegisterRequest {
            requested_tags,
            ..with_key(1, 101, &key)
        })
        .await;
    let Outcome::Refused(refused) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.reason(), RefusalReason::TagsNotPermitted);
    assert!(
        refused
            .text
            .starts_with("requested tags [tag:web] are invalid or not permitted"),
        "{}",
        refused.text
    );
}

async fn join_asks_identity_once_and_is_answered_with_the_names_of_its_owner(
    services: TestServices,
) {
    let rpcs = ["ResolveUsers", "ResolveTailnet", "ResolveUser"];
    let count = || rpcs.map(|rpc| services.count_identity_calls(rpc));
    let key = services.new_user_key(true).await;
    let before = count();
    let joined = services.register(with_key(1, 101, &key)).await;
    assert_eq!(count(), [before[0] + 1, before[1], before[2]]);
    let Outcome::Registered(joined) = joined else {
        panic!("{joined:?}")
    };
    assert_eq!(joined.login_name, "amira@example.com");
    assert_eq!(joined.tailnet_name, "home");
    // Its key is bound now: identity is asked for the same names, and for no verdict.
    let again = services.register(with_key(1, 101, &key)).await;
    assert_eq!(count(), [before[0] + 1, before[1], before[2] + 1]);
    assert_eq!(again, Outcome::Registered(joined));

    services
        .set_policy(r#"{ "tagOwners": { "tag:web": [] } }"#)
        .await;
    let key = services.new_tag_key("tag:web").await;
    let before = count();
    let tagged = services.register(with_key(2, 102, &key)).await;
    assert_eq!(count(), [before[0], before[1] + 1, before[2]]);
    let Outcome::Registered(tagged) = tagged else {
        panic!("{tagged:?}")
    };
    assert_eq!((&*tagged.login_name, &*tagged.tailnet_name), ("", "home"));
}

async fn owners_of_registrations_that_come_together_are_asked_for_together(services: TestServices) {
    let mut keys = Vec::new();
    for number in 0..20 {
        let name = format!("user-{number}@example.com");
        let user = services
            .new_user(services.tailnet, &name, Role::Member)
            .await;
        let key = PreAuthKey {
            user_id: user.id,
            ..PreAuthKey::default()
        };
        keys.push((services.new_key(key).await, name));
    }
    let before = services.count_identity_calls("ResolveUsers");
    let joining = (1_u8..).zip(&keys).map(async |(number, (key, name))| {
        let joined = services.register(with_key(number, 100 + number, key)).await;
        let Outcome::Registered(joined) = joined else {
            panic!("{joined:?}")
        };
        assert_eq!(joined.login_name, *name);
    });
    join_all(joining).await;
    let asked = services.count_identity_calls("ResolveUsers") - before;
    assert!(asked <= keys.len() / 2, "{asked}");
}
