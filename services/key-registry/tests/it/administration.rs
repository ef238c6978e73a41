//! What administrators choose: tags of keys, names, routes, pools of addresses.

use bowline_proto::identity::v1::Role;
use bowline_proto::key_registry::v1::{
    ApproveNodeRequest, CreatePreAuthKeyRequest, ListNodesRequest, PreAuthKey, RefusalReason,
    RegisterRequest, SetApprovedRoutesRequest, node_service_client::NodeServiceClient,
    pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
};
use bowline_test_support::{TestServices, on_both};
use tonic::{Code, Status};

use crate::request::with_key;

on_both!(TestServices::start =>
    keys_with_tags_that_the_policy_does_not_define_are_refused_when_made_and_when_used,
    a_key_lives_as_long_as_was_asked,
    each_address_of_a_policy_s_pool_is_given_and_the_pool_is_named_when_none_is_left,
    one_exit_route_stands_for_both,
    names_follow_hostnames_only_where_these_change,
    routes_that_are_offered_no_more_are_not_approved_any_more,
    nodes_are_listed_by_user_and_by_waiting_for_approval,
);

async fn list_names(services: &TestServices, user_id: u64, awaits_approval: bool) -> Vec<String> {
    let request = ListNodesRequest {
        tailnet_id: services.tailnet,
        user_id,
        awaits_approval,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    let listed = nodes.list_nodes(request).await.unwrap().into_inner().nodes;
    listed
        .into_iter()
        .map(|listed| listed.node.unwrap().name)
        .collect()
}

async fn nodes_are_listed_by_user_and_by_waiting_for_approval(services: TestServices) {
    let named = |name: &str, request: RegisterRequest| RegisterRequest {
        hostname: name.to_owned(),
        ..request
    };
    let other = services
        .new_user(services.tailnet, "kim@example.com", Role::Member)
        .await;
    let key_of = async |user_id: u64| {
        let key = PreAuthKey {
            user_id,
            reusable: true,
            ..PreAuthKey::default()
        };
        services.new_key(key).await
    };
    let (own, others) = (key_of(services.user.id).await, key_of(other.id).await);
    let register = async |name: &str, number: u8, key: &str| {
        let request = named(name, with_key(number, number + 100, key));
        services.register_node(request).await
    };
    register("laptop", 1, &own).await;
    register("desk", 2, &others).await;
    services.require_approval().await;
    let phone = register("phone", 3, &own).await;
    register("tablet", 4, &others).await;
    // As an older release leaves it.
    let table = services.database.table("key_registry", "nodes");
    let query = format!("UPDATE {table} SET approved = NULL");
    let pool = sqlx::AnyPool::connect(&services.database.url("registry"))
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            list_names(&services, 0, false).await,
            ["desk", "laptop", "phone", "tablet"]
        );
        let amira = services.user.id;
        assert_eq!(
            list_names(&services, amira, false).await,
            ["laptop", "phone"]
        );
        assert_eq!(list_names(&services, 0, true).await, ["phone", "tablet"]);
        assert_eq!(list_names(&services, amira, true).await, ["phone"]);
        let query = sqlx::query(sqlx::AssertSqlSafe(query.clone()));
        query.execute(&pool).await.unwrap();
    }
    let request = ApproveNodeRequest {
        tailnet_id: services.tailnet,
        node_id: phone.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.approve_node(request).await.unwrap();
    assert_eq!(list_names(&services, 0, true).await, ["tablet"]);
}

async fn keys_with_tags_that_the_policy_does_not_define_are_refused_when_made_and_when_used(
    services: TestServices,
) {
    let make = async |tag: &str| {
        let key = PreAuthKey {
            tailnet_id: services.tailnet,
            tags: vec![tag.to_owned()],
            reusable: true,
            ..PreAuthKey::default()
        };
        let request = CreatePreAuthKeyRequest {
            key: Some(key),
            ..CreatePreAuthKeyRequest::default()
        };
        let mut keys = PreAuthKeyServiceClient::new(services.admin());
        keys.create_pre_auth_key(request).await
    };
    let refused = make("tag:web").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("[tag:web]") && refused.message().contains("tagOwners"));
    services
        .set_policy(r#"{"tagOwners": {"tag:web": []}}"#)
        .await;
    let key = make("tag:web").await.unwrap().into_inner().secret;
    let node = services.register_node(with_key(1, 101, &key)).await;
    assert_eq!(node.tags, ["tag:web"]);
    services
        .set_policy(r#"{"tagOwners": {"tag:db": []}}"#)
        .await;
    let Outcome::Refused(refused) = services.register(with_key(2, 102, &key)).await else {
        panic!("the tag is gone")
    };
    assert_eq!(refused.reason(), RefusalReason::TagsNotPermitted);
    assert!(refused.text.contains("[tag:web]"), "{}", refused.text);
    assert!(
        refused.text.contains("define them under tagOwners"),
        "{}",
        refused.text
    );
}

async fn a_key_lives_as_long_as_was_asked(services: TestServices) {
    let make = async |seconds: i64| {
        let request = CreatePreAuthKeyRequest {
            key: Some(PreAuthKey {
                tailnet_id: services.tailnet,
                user_id: services.user.id,
                ..PreAuthKey::default()
            }),
            expires_after: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        let mut keys = PreAuthKeyServiceClient::new(services.admin());
        let made = keys.create_pre_auth_key(request).await?.into_inner().key;
        let made = made.unwrap();
        Ok::<_, Status>(made.expires_at.unwrap().seconds - made.created_at.unwrap().seconds)
    };
    let century = 100 * 365 * 86_400;
    for life in [1, 7_200, century] {
        assert_eq!(make(life).await.unwrap(), life);
    }
    for life in [-1, 0, century + 1, i64::MAX] {
        let refused = make(life).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{life}");
        assert!(refused.message().contains("expires_after"), "{refused}");
    }
}

async fn each_address_of_a_policy_s_pool_is_given_and_the_pool_is_named_when_none_is_left(
    services: TestServices,
) {
    for (wanted, expected) in [
        ("100.81.0.1/32", &["100.81.0.1"][..]),
        ("100.82.0.0/31", &["100.82.0.0", "100.82.0.1"]),
    ] {
        let policy = format!(
            r#"{{"tagOwners": {{"tag:static": []}},
                 "nodeAttrs": [{{"target": ["tag:static"], "ipPool": ["{wanted}"]}}]}}"#
        );
        services.set_policy(&policy).await;
        let key = services.new_tag_key("tag:static").await;
        let first = u8::try_from(expected.len()).unwrap() * 10;
        for (number, address) in (first..).zip(expected) {
            let node = services
                .register_node(with_key(number, 100 + number, &key))
                .await;
            assert_eq!(node.ipv4, *address);
        }
        let Outcome::Refused(refused) = services.register(with_key(50, 250, &key)).await else {
            panic!("the pool is used up")
        };
        assert_eq!(refused.reason(), RefusalReason::AddressesExhausted);
        assert!(refused.text.contains(wanted), "{}", refused.text);
    }
}

async fn one_exit_route_stands_for_both(services: TestServices) {
    let key = services.new_user_key(true).await;
    let both = ["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    let exit = RegisterRequest {
        advertised_routes: both.to_vec(),
        ..with_key(1, 101, &key)
    };
    let node = services.register_node(exit).await;
    for one in &both {
        let request = SetApprovedRoutesRequest {
            tailnet_id: services.tailnet,
            node_id: node.id,
            routes: vec![one.clone()],
        };
        let mut nodes = NodeServiceClient::new(services.admin());
        let node = nodes.set_approved_routes(request).await.unwrap();
        assert_eq!(node.into_inner().node.unwrap().approved_routes, both);
    }
}

async fn names_follow_hostnames_only_where_these_change(services: TestServices) {
    let key = services.new_user_key(true).await;
    let called = |number: u8, old: u8, hostname: &str| RegisterRequest {
        hostname: hostname.to_owned(),
        old_node_key: vec![old; 32],
        ..with_key(1, number, &key)
    };
    let first = called(101, 99, "Joe's Mac mini.local");
    assert_eq!(services.register_node(first).await.name, "joes-mac-mini");
    let renamed = called(102, 101, "server-\u{5317}\u{4eac}-01");
    assert_eq!(services.register_node(renamed).await.name, "server--01");
    let again = called(103, 102, "server-\u{5317}\u{4eac}-01");
    assert_eq!(services.register_node(again).await.name, "server--01");
}

async fn routes_that_are_offered_no_more_are_not_approved_any_more(services: TestServices) {
    let policy = r#"{"autoApprovers": {"routes": {"10.0.0.0/8": ["amira@example.com"]}}}"#;
    services.set_policy(policy).await;
    let key = services.new_user_key(true).await;
    let offering = |number: u8, route: &str| RegisterRequest {
        advertised_routes: vec![route.to_owned()],
        old_node_key: vec![number - 1; 32],
        ..with_key(1, number, &key)
    };
    let node = services.register_node(offering(101, "10.0.1.0/24")).await;
    assert_eq!(node.approved_routes, ["10.0.1.0/24"]);
    assert_eq!(
        node.primary_routes.len(),
        0,
        "the answer is from before the election"
    );
    let node = services.register_node(offering(102, "10.0.2.0/24")).await;
    assert_eq!(node.approved_routes, ["10.0.2.0/24"]);
    let request = SetApprovedRoutesRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
        routes: vec!["192.168.0.0/24".to_owned()],
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.set_approved_routes(request).await.unwrap();
    let node = services.register_node(offering(103, "10.0.3.0/24")).await;
    assert_eq!(node.approved_routes, ["10.0.3.0/24", "192.168.0.0/24"]);
}
