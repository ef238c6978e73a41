//! The admission against the real registry and identity.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bowline_ids::{NodeOwner, UserId};
use bowline_proto::{
    identity::v1::User,
    key_registry::v1::{ExpireNodeRequest, SetTagsRequest, node_service_client::NodeServiceClient},
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_service_kit::{Caller, ServiceName};
use bowline_test_support::{TestServices, unreachable_channel};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;

use super::*;
use crate::test_nodes::{register, start_services};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn admission(services: &TestServices) -> RegistryAdmission {
    let relay = services.service(ServiceName::Relay);
    RegistryAdmission::new(relay.clone(), relay)
}

/// Returns a channel that leads where another does, while nobody is said to be away.
fn channel_that_may_be_away(channel: &GrpcChannel, is_away: &Arc<AtomicBool>) -> GrpcChannel {
    let (channel, is_away) = (channel.clone(), Arc::clone(is_away));
    let pass_on = tower::service_fn(move |request: http::Request<axum::body::Body>| {
        let (mut channel, is_away) = (channel.clone(), is_away.load(Ordering::SeqCst));
        async move {
            let answer = match is_away {
                true => Err(Status::unavailable("it is away")),
                false => channel.call(request.map(Body::new)).await,
            };
            Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(|status| status.into_http()))
        }
    });
    let routes = Routes::from(axum::Router::new().fallback_service(pass_on));
    GrpcChannel::in_process(routes, Caller::Service(ServiceName::Relay))
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
    let services = start_services().await;
    let (home, work) = (services.user.clone(), services.new_tailnet("work").await);
    let node = register(&services, &home, 1, &[]).await;
    register(&services, &work, 2, &[]).await;
    let admission = admission(&services);
    assert_eq!(verdict(&admission, 1).await, allowed(&home));
    assert_eq!(verdict(&admission, 2).await, allowed(&work));
    assert_eq!(verdict(&admission, 3).await, AdmissionVerdict::Refused);

    let request = ExpireNodeRequest {
        tailnet_id: home.tailnet_id,
        node_id: node.id,
    };
    NodeServiceClient::new(services.admin())
        .expire_node(request)
        .await
        .unwrap();
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
}

#[tokio::test]
async fn nodes_of_a_suspended_user_are_refused_until_the_user_is_restored() {
    let services = start_services().await;
    let user = services.user.clone();
    register(&services, &user, 1, &[]).await;
    let admission = admission(&services);
    services.set_suspended(&user, true).await;
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
    services.set_suspended(&user, false).await;
    assert_eq!(verdict(&admission, 1).await, allowed(&user));
}

#[tokio::test]
async fn node_that_its_user_tagged_is_refused_with_the_user_until_an_administrator_confirms_the_tags()
 {
    let services = start_services().await;
    let user = services.user.clone();
    let tags = vec!["tag:web".to_owned()];
    let request = SetPolicyRequest {
        tailnet_id: user.tailnet_id,
        text: r#"{"tagOwners": {"tag:web": ["amira@example.com"]}}"#.to_owned(),
        ..SetPolicyRequest::default()
    };
    let mut policies = PolicyServiceClient::new(services.admin());
    policies.set_policy(request).await.unwrap();
    let node = register(&services, &user, 1, &tags).await;
    let admission = admission(&services);
    assert_eq!(verdict(&admission, 1).await, allowed(&user));
    services.set_suspended(&user, true).await;
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
    let confirm = SetTagsRequest {
        tailnet_id: user.tailnet_id,
        node_id: node.id,
        tags,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.set_tags(confirm).await.unwrap();
    assert_eq!(verdict(&admission, 1).await, allowed(&user));
}

#[tokio::test]
async fn while_identity_is_away_nodes_are_served_but_for_users_seen_suspended() {
    let services = start_services().await;
    let (home, work) = (services.user.clone(), services.new_tailnet("work").await);
    register(&services, &home, 1, &[]).await;
    register(&services, &work, 2, &[]).await;
    services.set_suspended(&home, true).await;
    let relay = services.service(ServiceName::Relay);
    let is_away = Arc::new(AtomicBool::new(false));
    let identity = channel_that_may_be_away(&relay, &is_away);
    let admission = RegistryAdmission::new(relay, identity);
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);

    is_away.store(true, Ordering::SeqCst);
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Refused);
    assert_eq!(verdict(&admission, 2).await, allowed(&work));
}

#[tokio::test]
async fn while_the_registry_is_away_nothing_is_known() {
    let admission = RegistryAdmission::new(unreachable_channel(), unreachable_channel());
    assert_eq!(verdict(&admission, 1).await, AdmissionVerdict::Unknown);
}
