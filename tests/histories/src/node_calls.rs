//! Calls about nodes that are there.

use bowline_proto::key_registry::v1::{
    ApproveNodeRequest, AttributeToSet, CustomAttribute, CustomValue, DeleteNodeRequest,
    DenyNodeRequest, DisableNodeRequest, EnableNodeRequest, ExpireNodeRequest,
    ExpireNodesOfPreAuthKeyRequest, NodeAttributesUpdate, NodeReport, Presence, PresenceReport,
    RenameNodeRequest, ReportNodesRequest, SetNodeAttributesRequest, SetNodeExpiryRequest,
    SetTagsRequest, custom_value::Kind, key_registry_service_client::KeyRegistryServiceClient,
    node_service_client::NodeServiceClient, set_node_expiry_request::Expiry,
};
use tonic::Status;

use crate::{
    call::{KeyAnswer, NodeCall, NodeKeyNumber},
    services::TestReplicas,
    tailnet::{CallPath, TestedTailnet, read_done, read_failure, tag_name},
};

/// The gateway that has every session.
const GATEWAY: &str = "g1";

/// Lets something happen to a node.
pub(crate) async fn change_node(
    services: &TestReplicas,
    (tailnet_id, node_id): (u64, u64),
    tailnet: &TestedTailnet,
    change: NodeCall,
    path: CallPath,
) -> KeyAnswer {
    let mut nodes = NodeServiceClient::new(services.admin(path.replica));
    /// Asks for a change that has no more to say than which node is meant.
    macro_rules! ask {
        ($rpc:ident, $request:ident) => {{
            let request = $request {
                tailnet_id,
                node_id,
            };
            read_done(nodes.$rpc(path.request(request)).await)
        }};
    }
    match change {
        NodeCall::Expire => ask!(expire_node, ExpireNodeRequest),
        NodeCall::Delete => ask!(delete_node, DeleteNodeRequest),
        NodeCall::Approve => ask!(approve_node, ApproveNodeRequest),
        NodeCall::Deny => ask!(deny_node, DenyNodeRequest),
        NodeCall::Disable => ask!(disable_node, DisableNodeRequest),
        NodeCall::Enable => ask!(enable_node, EnableNodeRequest),
        NodeCall::NeverExpire | NodeCall::ExpireAfter(_) => {
            let expiry = match change {
                NodeCall::ExpireAfter(seconds) => {
                    Expiry::After(prost_types::Duration { seconds, nanos: 0 })
                }
                _ => Expiry::Never(true),
            };
            let request = SetNodeExpiryRequest {
                tailnet_id,
                node_id,
                expiry: Some(expiry),
            };
            read_done(nodes.set_node_expiry(path.request(request)).await)
        }
        NodeCall::SetTag(tag) => {
            let request = SetTagsRequest {
                tailnet_id,
                node_id,
                tags: vec![tag_name(tag)],
            };
            read_done(nodes.set_tags(path.request(request)).await)
        }
        NodeCall::Rename(name) => {
            let request = RenameNodeRequest {
                tailnet_id,
                node_id,
                name: chosen_name(name),
            };
            read_done(nodes.rename_node(path.request(request)).await)
        }
        NodeCall::SetAttribute(value) => {
            let update = set_attribute(node_id, value);
            let request = SetNodeAttributesRequest {
                tailnet_id,
                updates: vec![update],
            };
            read_done(nodes.set_node_attributes(path.request(request)).await)
        }
        NodeCall::Connect(key) => {
            report_session(services, tailnet, (node_id, key), true, path).await
        }
        NodeCall::Disconnect(key) => {
            report_session(services, tailnet, (node_id, key), false, path).await
        }
    }
}

/// Returns the attribute with a value.
#[must_use]
pub(crate) fn attribute(value: u8) -> CustomAttribute {
    CustomAttribute {
        name: "custom:level".to_owned(),
        value: Some(CustomValue {
            kind: Some(Kind::Number(value.into())),
        }),
        ..CustomAttribute::default()
    }
}

fn set_attribute(node_id: u64, value: Option<u8>) -> NodeAttributesUpdate {
    let set = value.map(|value| {
        let CustomAttribute { name, value, .. } = attribute(value);
        AttributeToSet {
            name,
            value,
            ..AttributeToSet::default()
        }
    });
    let removed = value.is_none().then(|| attribute(0).name);
    NodeAttributesUpdate {
        node_id,
        set: set.into_iter().collect(),
        remove: removed.into_iter().collect(),
    }
}

/// Returns one of the few names that administrators give.
#[must_use]
pub(crate) fn chosen_name(name: u8) -> String {
    format!("chosen{name}")
}

/// Says that a session of a node begins or ends.
async fn report_session(
    services: &TestReplicas,
    tailnet: &TestedTailnet,
    (node_id, key): (u64, NodeKeyNumber),
    is_live: bool,
    path: CallPath,
) -> KeyAnswer {
    let presence = PresenceReport {
        presence: Some(Presence {
            epoch: 0,
            gateway: GATEWAY.to_owned(),
        }),
        live: is_live,
        ..PresenceReport::default()
    };
    let report = NodeReport {
        tailnet_id: tailnet.id,
        node_id,
        node_key: tailnet.node_key(key),
        presence: Some(presence),
        ..NodeReport::default()
    };
    match send_reports(services, vec![report], path).await {
        Ok(true) => KeyAnswer::Done,
        Ok(false) => KeyAnswer::Ignored,
        Err(status) => read_failure(&status),
    }
}

/// Lets the registry know the gateway that has every session. Its lease ends at once, so that nobody waits for it.
pub(crate) async fn introduce_gateway(services: &TestReplicas) {
    let path = CallPath {
        replica: 0,
        looks: None,
    };
    send_reports(services, Vec::new(), path).await.unwrap();
}

/// Sends reports; says whether all of them are accepted.
async fn send_reports(
    services: &TestReplicas,
    reports: Vec<NodeReport>,
    path: CallPath,
) -> Result<bool, Status> {
    let request = ReportNodesRequest {
        reports,
        gateway: GATEWAY.to_owned(),
    };
    let gateway = services.gateway(path.replica);
    let answer = KeyRegistryServiceClient::new(gateway)
        .report_nodes(path.request(request))
        .await?;
    let results = answer.into_inner().results;
    Ok(results.iter().all(|result| result.accepted))
}

/// Ends the keys of the nodes that a pre-auth key let in.
pub(crate) async fn end_nodes_of_key(
    services: &TestReplicas,
    tailnet_id: u64,
    pre_auth_key_id: String,
    path: CallPath,
) -> KeyAnswer {
    let request = ExpireNodesOfPreAuthKeyRequest {
        tailnet_id,
        pre_auth_key_id,
    };
    let mut nodes = NodeServiceClient::new(services.admin(path.replica));
    let answer = nodes.expire_nodes_of_pre_auth_key(path.request(request));
    match answer.await {
        Ok(answer) => {
            let ended = answer.into_inner().nodes;
            KeyAnswer::Ended(ended.into_iter().map(|node| node.id).collect())
        }
        Err(status) => read_failure(&status),
    }
}
