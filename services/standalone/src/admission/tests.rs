//! The admission against the real registry and identity.

use std::net::Ipv4Addr;

use bowline_ids::{NodeOwner, UserId};
use bowline_proto::{
    identity::v1::User,
    key_registry::v1::{ExpireNodeRequest, SetTagsRequest, node_service_client::NodeServiceClient},
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_service_kit::ServiceName;

use super::*;
use crate::test_owners::{TestOwners, channel_to_nobody};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn admission(world: &TestOwners) -> RegistryAdmission {
    let relay = world.service_channel(ServiceName::Relay);
    RegistryAdmission::new(relay.clone(), relay)
}

async fn verdict(admission: &RegistryAdmission, number: u8) -> AdmissionVerdict {
    let node = NodePublic::from_bytes([number; 32]);
    admission.judge_node(node, SOURCE).await
}

fn allowed(user: &User) -> AdmissionVerdict {
    AdmissionVerdict::Allowed(AdmittedNode {
        tailnet: TailnetId::try_from(user.tailnet_id).unwrap(),
        owner: NodeOwner::User(UserId::try_from(user.id).unwrap()),
    })
}

#[tokio::test]
async fn nodes_are_served_in_their_own_tailnet_until_their_key_ends() {
    let world = TestOwners::start().await;
    let (home, work) = (
        world.create_user("home").await,
        world.create_user("work").await,
    );
    let node = world.create_node(&home, 1).await;
    world.create_node(&work, 2).await;
    let admission = admission(&world);
    assert_eq!(verdict(&admission, 1).await, allowed(&home));
    assert_eq!(verdict(&admission, 2).await, allowed(&work));
    assert_eq!(verdict(&admission, 3).await, AdmissionVerdict::Refused);

    let request = ExpireNodeRequest {
        tailnet_id: home.tailnet_id,
        node_id: node.id,
    };
    NodeServiceClient::new(world.admin_channel())
        .expire_node(request)
        .await
        .unwrap();
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
}

#[tokio::test]
async fn nodes_of_a_suspended_user_are_refused_until_the_user_is_restored() {
    let world = TestOwners::start().await;
    let user = world.create_user("home").await;
    world.create_node(&user, 1).await;
    let admission = admission(&world);
    world.suspend_user(&user, true).await;
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
    world.suspend_user(&user, false).await;
    assert_eq!(verdict(&admission, 1).await, allowed(&user));
}

#[tokio::test]
async fn node_that_its_user_tagged_is_refused_with_the_user_until_an_administrator_confirms_the_tags()
 {
    let world = TestOwners::start().await;
    let user = world.create_user("home").await;
    let tags = vec!["tag:web".to_owned()];
    let request = SetPolicyRequest {
        tailnet_id: user.tailnet_id,
        text: r#"{"tagOwners": {"tag:web": ["amira@example.com"]}}"#.to_owned(),
        ..SetPolicyRequest::default()
    };
    let mut policies = PolicyServiceClient::new(world.admin_channel());
    policies.set_policy(request).await.unwrap();
    let node = world.create_tagged_node(&user, 1, &tags).await;
    let admission = admission(&world);
    assert_eq!(verdict(&admission, 1).await, allowed(&user));
    world.suspend_user(&user, true).await;
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
    let confirm = SetTagsRequest {
        tailnet_id: user.tailnet_id,
        node_id: node.id,
        tags,
    };
    let mut nodes = NodeServiceClient::new(world.admin_channel());
    nodes.set_tags(confirm).await.unwrap();
    assert_eq!(verdict(&admission, 1).await, allowed(&user));
}

#[tokio::test]
async fn while_identity_is_away_nodes_are_served_but_for_users_seen_suspended() {
    let world = TestOwners::start().await;
    let (home, work) = (
        world.create_user("home").await,
        world.create_user("work").await,
    );
    world.create_node(&home, 1).await;
    world.create_node(&work, 2).await;
    world.suspend_user(&home, true).await;
    let mut admission = admission(&world);
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);

    admission.identity = channel_to_nobody();
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
    assert_eq!(verdict(&admission, 2).await, allowed(&work));
}

#[tokio::test]
async fn while_the_registry_is_away_nothing_is_known() {
    let admission = RegistryAdmission::new(channel_to_nobody(), channel_to_nobody());
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Unknown);
}
