//! Who may have which tags, and what everybody else is told.

use bowline_proto::{
    identity::v1::{Role, User},
    key_registry::v1::{
        Node, PreAuthKey, RefusalReason, RegisterRequest, SetTagsRequest, TaggedBy,
        node_service_client::NodeServiceClient, register_response::Outcome,
    },
};
use bowline_test_support::{TestServices, on_both};
use tonic::{Code, Status};

use crate::{
    request::{request, with_key},
    returning::log_in,
};

on_both!(TestServices::start =>
    tags_are_given_at_registration_to_those_who_own_them,
    administrators_set_and_remove_tags,
    roles_decide_who_sets_tags,
    tags_of_a_key_are_the_node_s_whatever_it_asks_for,
    node_gets_tags_that_its_own_own_and_loses_its_key_over_others,
    tags_end_with_a_login_without_them,
);

const POLICY: &str = r#"{
    "groups": {"group:ops": ["member@example.com"]},
    "tagOwners": {
        "tag:own": ["member@example.com"],
        "tag:ops": ["group:ops"],
        "tag:chain": ["tag:ops"],
        "tag:members": ["autogroup:member"],
        "tag:admins": ["autogroup:admin"],
        "tag:other": ["somebody@example.com"],
        "tag:nobody": [],
    },
}"#;

/// A network with a member, and a key of the member's.
async fn with_member(services: &TestServices) -> (User, String) {
    services.set_policy(POLICY).await;
    let tailnet = services.tailnet;
    let member = services
        .new_user(tailnet, "member@example.com", Role::Member)
        .await;
    (member.clone(), key_of(services, &member).await)
}

async fn key_of(services: &TestServices, user: &User) -> String {
    let key = PreAuthKey {
        user_id: user.id,
        reusable: true,
        ..PreAuthKey::default()
    };
    services.new_key(key).await
}

fn asking(wanted: RegisterRequest, tags: &[&str]) -> RegisterRequest {
    RegisterRequest {
        requested_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..wanted
    }
}

async fn tags_are_given_at_registration_to_those_who_own_them(services: TestServices) {
    let (_, key) = with_member(&services).await;
    let mut number = 0;
    let mut ask = async |key: &str, tags: &[&str]| {
        number += 1;
        let wanted = with_key(number, 100 + number, key);
        services.register(asking(wanted, tags)).await
    };
    for tags in [
        &["tag:own"][..],
        &["tag:ops"],
        &["tag:chain"],
        &["tag:members"],
        &["tag:ops", "tag:own"],
    ] {
        let Outcome::Registered(registered) = ask(&key, tags).await else {
            panic!("{tags:?} are the member's to give")
        };
        let node = registered.node.unwrap();
        assert_eq!(node.tags, tags);
        assert_eq!(node.tagged_by(), TaggedBy::User);
        assert_eq!(node.key_expiry, None, "keys of tagged nodes do not end");
    }
    // One that may not be given refuses all, and the answer names it and says who can help.
    for (tags, refused_tags) in [
        (&["tag:other"][..], "[tag:other]"),
        (&["tag:admins"], "[tag:admins]"),
        (&["tag:nobody"], "[tag:nobody]"),
        (&["tag:undefined"], "[tag:undefined]"),
        (
            &["tag:own", "tag:nobody", "tag:other"],
            "[tag:nobody, tag:other]",
        ),
    ] {
        let Outcome::Refused(refused) = ask(&key, tags).await else {
            panic!("{tags:?} are not the member's to give")
        };
        assert_eq!(refused.reason(), RefusalReason::TagsNotPermitted);
        let expected = format!("requested tags {refused_tags} are invalid or not permitted");
        assert!(refused.text.starts_with(&expected), "{}", refused.text);
        assert!(refused.text.contains("tagOwners"), "{}", refused.text);
    }
    for tags in [&["web"][..], &["tag:"], &["tag:9"], &["tag:a b"]] {
        let Outcome::Refused(refused) = ask(&key, tags).await else {
            panic!("{tags:?} are no tags")
        };
        assert_eq!(refused.reason(), RefusalReason::Malformed);
        assert!(refused.text.contains("tag:web"), "{}", refused.text);
    }
    // Whose role is to administer the network may give every tag that there is, also one that nobody owns.
    let tailnet = services.tailnet;
    let admin = services
        .new_user(tailnet, "admin@example.com", Role::Admin)
        .await;
    let key = key_of(&services, &admin).await;
    let given = ask(&key, &["tag:nobody", "tag:other"]).await;
    assert!(matches!(given, Outcome::Registered(_)), "{given:?}");
    let undefined = ask(&key, &["tag:undefined"]).await;
    assert!(matches!(undefined, Outcome::Refused(_)), "{undefined:?}");
    assert_eq!(services.nodes().await.len(), 6);
}

async fn set_tags(services: &TestServices, node: &Node, tags: &[&str]) -> Result<Node, Status> {
    let request = tags_request(services, node, tags);
    let mut nodes = NodeServiceClient::new(services.admin());
    Ok(nodes.set_tags(request).await?.into_inner().node.unwrap())
}

fn tags_request(services: &TestServices, node: &Node, tags: &[&str]) -> SetTagsRequest {
    SetTagsRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

async fn administrators_set_and_remove_tags(services: TestServices) {
    let (member, key) = with_member(&services).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    assert!(node.key_expiry.is_some());
    let tagged = set_tags(&services, &node, &["tag:nobody", "tag:other", "tag:nobody"])
        .await
        .unwrap();
    assert_eq!(tagged.tags, ["tag:nobody", "tag:other"]);
    assert_eq!(tagged.tagged_by(), TaggedBy::Administrator);
    assert_eq!((tagged.key_expiry, tagged.user_id), (None, member.id));
    let fewer = set_tags(&services, &node, &["tag:other"]).await.unwrap();
    assert_eq!(fewer.tags, ["tag:other"]);
    for (tags, says) in [
        (&[][..], "log in again"),
        (&["tag:undefined"], "define them under tagOwners"),
        (&["other"], "tag: and a name"),
    ] {
        let refused = set_tags(&services, &node, tags).await.unwrap_err();
        assert!(refused.message().contains(says), "{refused}");
    }
    assert_eq!(services.node(node.id).await, fewer);
}

async fn roles_decide_who_sets_tags(services: TestServices) {
    let (_, key) = with_member(&services).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    let mut results = Vec::new();
    for role in [
        Role::Admin,
        Role::NetworkAdmin,
        Role::ItAdmin,
        Role::Auditor,
    ] {
        let name = format!("{}@example.com", role.as_str_name().to_lowercase());
        let user = services.new_user(services.tailnet, &name, role).await;
        let (_, token) = services.new_api_key(&user, &["devices:core"]).await;
        let mut nodes = NodeServiceClient::new(services.with_token(&token));
        let asked = nodes.set_tags(tags_request(&services, &node, &["tag:nobody"]));
        results.push((role, asked.await.map_err(|status| status.code())));
    }
    let is_done = |wanted| {
        let found = results.iter().find(|(role, _)| *role == wanted);
        found.unwrap().1.is_ok()
    };
    assert!(is_done(Role::Admin), "{results:?}");
    assert!(!is_done(Role::Auditor), "{results:?}");
    let denied = results
        .iter()
        .filter_map(|(_, result)| result.as_ref().err());
    for code in denied {
        assert!(
            matches!(code, Code::PermissionDenied | Code::FailedPrecondition),
            "{results:?}"
        );
    }
}

async fn tags_of_a_key_are_the_node_s_whatever_it_asks_for(services: TestServices) {
    with_member(&services).await;
    let key = services.new_tag_key("tag:nobody").await;
    let wanted = asking(with_key(1, 101, &key), &["tag:other"]);
    let node = services.register_node(wanted).await;
    assert_eq!(node.tags, ["tag:nobody"]);
    assert_eq!(node.tagged_by(), TaggedBy::PreAuthKey);
}

async fn node_gets_tags_that_its_own_own_and_loses_its_key_over_others(services: TestServices) {
    let (_, key) = with_member(&services).await;
    let wanted = asking(with_key(1, 101, &key), &["tag:ops"]);
    let node = services.register_node(wanted).await;
    // Re-registering its key changes nothing, whatever it says.
    let again = services
        .register_node(asking(with_key(1, 101, &key), &["tag:nobody"]))
        .await;
    assert_eq!(again.tags, ["tag:ops"]);
    // With a new key it is what the member may give.
    let rotated = RegisterRequest {
        old_node_key: vec![101; 32],
        ..asking(with_key(1, 102, &key), &["tag:chain"])
    };
    let chained = services.register_node(rotated).await;
    assert_eq!(
        (chained.id, &*chained.tags),
        (node.id, &["tag:chain".to_owned()][..])
    );
    let refused = RegisterRequest {
        old_node_key: vec![102; 32],
        ..asking(with_key(1, 103, &key), &["tag:nobody"])
    };
    let refused = services.register(refused).await;
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
    assert_eq!(
        services.node(node.id).await,
        chained,
        "a refusal changes nothing"
    );
}

async fn tags_end_with_a_login_without_them(services: TestServices) {
    services.set_policy(POLICY).await;
    let node = log_in(&services, asking(request(1, 101), &["tag:members"])).await;
    assert_eq!(node.tags, ["tag:members"]);
    let untagged = RegisterRequest {
        old_node_key: vec![101; 32],
        ..request(1, 102)
    };
    let back = log_in(&services, untagged).await;
    assert_eq!((back.id, back.user_id), (node.id, services.user.id));
    assert!(back.tags.is_empty() && back.key_expiry.is_some());
    assert_eq!(back.tagged_by(), TaggedBy::Unspecified);
}
