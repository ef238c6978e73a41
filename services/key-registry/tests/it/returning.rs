//! A machine that logs in again as the same owner is the same node.

use bowline_proto::{
    identity::v1::{
        ApproveLoginRequest, CreateUserRequest, GetLoginRequest,
        login_service_client::LoginServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ExpireNodeRequest, Node, PreAuthKey, RegisterRequest,
        node_service_client::NodeServiceClient, register_response::Outcome,
    },
};
use bowline_test_support::{TestServices, on_both};
use prost_types::Timestamp;

use crate::request::{request, with_key};

on_both!(TestServices::start =>
    logging_out_and_in_again_by_key_is_the_same_node,
    logging_out_and_in_again_by_login_is_the_same_node,
    expired_node_comes_back_without_naming_its_old_key,
    machine_that_lost_its_new_key_comes_back_by_the_one_before,
    tagged_node_comes_back_and_becomes_its_user_s_by_a_login_without_tags,
    node_with_a_live_session_is_never_taken_over,
    login_says_whether_its_machine_is_in_already,
    ephemeral_nodes_and_others_never_merge,
    other_owner_is_another_node_and_of_several_the_last_seen_comes_back,
);

pub(crate) async fn log_out(services: &TestServices, machine: u8, node: u8) {
    let past = Some(Timestamp {
        seconds: 123,
        nanos: 0,
    });
    let logout = RegisterRequest {
        expiry: past,
        ..request(machine, node)
    };
    let outcome = services.register(logout).await;
    assert!(matches!(outcome, Outcome::LoggedOut(_)), "{outcome:?}");
}

fn assert_same(one: &Node, other: &Node) {
    assert_eq!(
        (one.id, &one.name, &one.ipv4, &one.ipv6),
        (other.id, &other.name, &other.ipv4, &other.ipv6)
    );
    assert!(!other.expired);
}

async fn logging_out_and_in_again_by_key_is_the_same_node(services: TestServices) {
    let key = services.new_user_key(true).await;
    let first = services.register_node(with_key(1, 101, &key)).await;
    let mut last = first.clone();
    for number in 102..105 {
        // Its session is still there, or was until a moment ago.
        services.report_session(&last, true).await;
        log_out(&services, 1, number - 1).await;
        last = services.register_node(with_key(1, number, &key)).await;
        assert_same(&first, &last);
    }
    assert_eq!(services.nodes().await.len(), 1);
    // The machine's own keys from before stay retired.
    let retired = services.register(with_key(1, 101, &key)).await;
    assert!(matches!(retired, Outcome::KeyExpired(_)));
}

/// Logs a machine in as the user, up to the answer.
pub(crate) async fn try_log_in(
    services: &TestServices,
    wanted: &RegisterRequest,
) -> (RegisterRequest, Outcome) {
    let Outcome::LoginNeeded(needed) = services.register(wanted.clone()).await else {
        panic!("a login is needed")
    };
    let approve = ApproveLoginRequest {
        login_id: needed.login_id.clone(),
        tailnet_id: services.tailnet,
        user_id: services.user.id,
    };
    let mut logins = LoginServiceClient::new(services.admin());
    logins.approve_login(approve).await.unwrap();
    let followup = RegisterRequest {
        login_id: needed.login_id,
        ..wanted.clone()
    };
    let outcome = services.register(followup.clone()).await;
    (followup, outcome)
}

pub(crate) async fn log_in(services: &TestServices, wanted: RegisterRequest) -> Node {
    let (followup, outcome) = try_log_in(services, &wanted).await;
    let Outcome::Registered(registered) = outcome else {
        panic!("{outcome:?}")
    };
    let node = registered.node.unwrap();
    assert_eq!(services.register_node(followup).await.id, node.id);
    node
}

async fn logging_out_and_in_again_by_login_is_the_same_node(services: TestServices) {
    let first = log_in(&services, request(1, 101)).await;
    log_out(&services, 1, 101).await;
    let again = log_in(&services, request(1, 102)).await;
    assert_same(&first, &again);
    // By key as well as by login.
    log_out(&services, 1, 102).await;
    let key = services.new_user_key(true).await;
    assert_same(
        &first,
        &services.register_node(with_key(1, 103, &key)).await,
    );
}

/// Its client ended between the answer and its disk, or its disk was restored.
async fn machine_that_lost_its_new_key_comes_back_by_the_one_before(services: TestServices) {
    let key = services.new_user_key(true).await;
    let first = services.register_node(with_key(1, 101, &key)).await;
    let renewed = |new| RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, new, &key)
    };
    assert_same(&first, &services.register_node(renewed(102)).await);
    let last = services.register_node(renewed(103)).await;
    assert_same(&first, &last);
    assert_eq!(services.nodes().await.len(), 1);
    let lost = services.register(with_key(1, 102, &key)).await;
    assert!(matches!(lost, Outcome::KeyExpired(_)), "{lost:?}");
    // Another installation with the same machine key is using it.
    services.report_session(&last, true).await;
    let newcomer = services.register_node(renewed(104)).await;
    assert_ne!(newcomer.id, first.id);
    // Another owner's node stays with its owner.
    services.report_session(&last, false).await;
    services.set_policy(POLICY).await;
    let tagged = RegisterRequest {
        pre_auth_key: services.new_tag_key("tag:db").await,
        ..renewed(105)
    };
    assert_ne!(services.register_node(tagged).await.id, first.id);
}

/// Conditions on renewal apply by that, so that a machine can not choose.
async fn login_says_whether_its_machine_is_in_already(services: TestServices) {
    let renews = async |wanted: RegisterRequest| {
        let Outcome::LoginNeeded(needed) = services.register(wanted).await else {
            panic!("a login is needed")
        };
        let request = GetLoginRequest {
            login_id: needed.login_id,
        };
        let mut logins = LoginServiceClient::new(services.admin());
        let found = logins.get_login(request).await.unwrap().into_inner();
        found.login.unwrap().device.unwrap().renews
    };
    assert!(!renews(request(1, 101)).await);
    log_in(&services, request(1, 101)).await;
    log_out(&services, 1, 101).await;
    assert!(renews(request(1, 102)).await, "it names no key from before");
    assert!(!renews(request(2, 103)).await, "another machine");
}

async fn expired_node_comes_back_without_naming_its_old_key(services: TestServices) {
    let key = services.new_user_key(true).await;
    let first = services.register_node(with_key(1, 101, &key)).await;
    let expire = ExpireNodeRequest {
        tailnet_id: services.tailnet,
        node_id: first.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.expire_node(expire).await.unwrap();
    assert_same(
        &first,
        &services.register_node(with_key(1, 102, &key)).await,
    );
}

const POLICY: &str = r#"{"tagOwners": {"tag:web": ["amira@example.com"], "tag:db": []}}"#;

async fn tagged_node_comes_back_and_becomes_its_user_s_by_a_login_without_tags(
    services: TestServices,
) {
    services.set_policy(POLICY).await;
    let tag_key = services.new_tag_key("tag:db").await;
    let server = services.register_node(with_key(1, 101, &tag_key)).await;
    log_out(&services, 1, 101).await;
    assert_same(
        &server,
        &services.register_node(with_key(1, 102, &tag_key)).await,
    );

    let key = services.new_user_key(true).await;
    let tagged = RegisterRequest {
        requested_tags: vec!["tag:web".to_owned()],
        ..with_key(2, 103, &key)
    };
    let tagged = services.register_node(tagged).await;
    assert_eq!(
        (&tagged.tags[..], tagged.key_expiry),
        (&["tag:web".to_owned()][..], None)
    );
    services.report_session(&tagged, true).await;
    // With --force-reauth the client names its key.
    let untagged = RegisterRequest {
        old_node_key: vec![103; 32],
        ..with_key(2, 104, &key)
    };
    let untagged = services.register_node(untagged).await;
    assert_same(&tagged, &untagged);
    assert_eq!(
        (untagged.tags.len(), untagged.user_id),
        (0, services.user.id)
    );
    // A tagged node that nobody added is nobody's to take.
    let stranger = RegisterRequest {
        old_node_key: vec![102; 32],
        ..with_key(1, 105, &key)
    };
    assert_ne!(services.register_node(stranger).await.id, server.id);
}

async fn node_with_a_live_session_is_never_taken_over(services: TestServices) {
    let key = services.new_user_key(true).await;
    let first = services.register_node(with_key(1, 101, &key)).await;
    services.report_session(&first, true).await;
    let copy = services.register_node(with_key(1, 102, &key)).await;
    assert_ne!(copy.id, first.id);
    assert_eq!(services.node(first.id).await, first);
    assert_eq!(
        services.node_with_state(copy.id).await.shares_machine_with,
        [first.id]
    );
    assert_eq!(
        services.node_with_state(first.id).await.shares_machine_with,
        [copy.id]
    );
    // Also not when its key has ended while it is in use.
    let expire = ExpireNodeRequest {
        tailnet_id: services.tailnet,
        node_id: first.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.expire_node(expire).await.unwrap();
    let third = services.register_node(with_key(1, 103, &key)).await;
    assert!(third.id != first.id && third.id != copy.id);
    // The one that is named as old is the registrant's own.
    let named = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 104, &key)
    };
    assert_same(&first, &services.register_node(named).await);
}

async fn ephemeral_nodes_and_others_never_merge(services: TestServices) {
    let key = services.new_user_key(true).await;
    let lasting = services.register_node(with_key(1, 101, &key)).await;
    let ephemeral = PreAuthKey {
        user_id: services.user.id,
        reusable: true,
        ephemeral: true,
        ..PreAuthKey::default()
    };
    let ephemeral = services.new_key(ephemeral).await;
    let passing = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &ephemeral)
    };
    let passing = services.register_node(passing).await;
    assert!(passing.id != lasting.id && passing.ephemeral);
    log_out(&services, 1, 101).await;
    let other = services.register_node(with_key(1, 103, &ephemeral)).await;
    assert!(other.id != lasting.id && other.id != passing.id);
    assert_same(
        &lasting,
        &services.register_node(with_key(1, 104, &key)).await,
    );
}

async fn other_owner_is_another_node_and_of_several_the_last_seen_comes_back(
    services: TestServices,
) {
    let request = CreateUserRequest {
        tailnet_id: services.tailnet,
        login_name: "bo@example.com".to_owned(),
        ..CreateUserRequest::default()
    };
    let mut users = UserServiceClient::new(services.admin());
    let other = users.create_user(request).await.unwrap().into_inner();
    let other = PreAuthKey {
        user_id: other.user.unwrap().id,
        reusable: true,
        ..PreAuthKey::default()
    };
    let (key, other) = (
        services.new_user_key(true).await,
        services.new_key(other).await,
    );
    let first = services.register_node(with_key(1, 101, &key)).await;
    log_out(&services, 1, 101).await;
    let others = services.register_node(with_key(1, 102, &other)).await;
    assert_ne!(others.id, first.id, "a profile of its own");
    // Two of the same owner: made while neither had ended.
    let own = services.register_node(with_key(1, 103, &key)).await;
    assert_same(&first, &own);
    let second = services.register_node(with_key(1, 104, &key)).await;
    assert_ne!(second.id, own.id);
    services.report_session(&second, true).await;
    services.report_session(&own, true).await;
    for node in [103, 104] {
        log_out(&services, 1, node).await;
    }
    let back = services.register_node(with_key(1, 105, &key)).await;
    assert_same(&own, &back);
}
