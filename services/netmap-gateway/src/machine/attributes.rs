//! Attributes that a node sets for itself (protocol section 4.7): passes on what the client asks. No verdict is made here.

use axum::http::StatusCode;
use bowline_control_wire::{SetDeviceAttributesRequest, parse_request};
use bowline_proto::key_registry::v1::{
    AttributeToSet, CustomValue, NodeAttributesUpdate, SetOwnAttributesRequest, custom_value::Kind,
    key_registry_service_client::KeyRegistryServiceClient,
};
use bowline_service_kit::trace;
use serde_json::Value;
use tonic::{Code, Status};

use super::{Machine, RequestFailure, map::unknown_key_failure};
use crate::{gateway::Gateway, tailnet::NodeKeyOwner};

/// Changes attributes of a node of the machine, all or none.
///
/// # Errors
///
/// With the registry's text, which the client shows.
pub async fn change_own_attributes(
    gateway: &Gateway,
    machine: &Machine,
    body: &[u8],
) -> Result<(), RequestFailure> {
    machine.refuse_in_drain()?;
    let asked: SetDeviceAttributesRequest = parse_request(body)?;
    let origin = machine.request_origin();
    let found = gateway
        .hub
        .locate_node(asked.node_key, machine.key, origin)
        .await;
    let located = match found {
        Ok(NodeKeyOwner::Node(located)) => located,
        Ok(NodeKeyOwner::Former(_)) => return Err(unknown_key_failure()),
        Err(status) if status.code() == Code::NotFound => return Err(unknown_key_failure()),
        Err(status) => return Err(status.into()),
    };
    trace::note_node(located.tailnet.id.get(), located.node.get());
    gateway
        .turns
        .take_attribute_change(located.node, tokio::time::Instant::now().into_std())?;
    let request = SetOwnAttributesRequest {
        machine_key: machine.key.as_bytes().to_vec(),
        node_key: asked.node_key.as_bytes().to_vec(),
        update: Some(read_update(asked)?),
    };
    let mut registry = KeyRegistryServiceClient::new(gateway.backends.registry.clone());
    registry.set_own_attributes(request).await.map_err(refuse)?;
    Ok(())
}

fn read_update(asked: SetDeviceAttributesRequest) -> Result<NodeAttributesUpdate, RequestFailure> {
    let mut update = NodeAttributesUpdate::default();
    for (name, value) in asked.update {
        let kind = match value {
            Value::Null => {
                update.remove.push(name);
                continue;
            }
            Value::String(text) => Some(Kind::Text(text)),
            Value::Number(number) => number.as_f64().map(Kind::Number),
            Value::Bool(flag) => Some(Kind::Flag(flag)),
            Value::Array(_) | Value::Object(_) => None,
        };
        let kind = kind.ok_or_else(|| {
            let text = format!(
                "{name}: an attribute is a text, a number, true or false, or null to remove it"
            );
            RequestFailure::new(StatusCode::BAD_REQUEST, text)
        })?;
        update.set.push(AttributeToSet {
            name,
            value: Some(CustomValue { kind: Some(kind) }),
            ..AttributeToSet::default()
        });
    }
    Ok(update)
}

/// A refusal is for the person or program that asks through the client.
fn refuse(status: Status) -> RequestFailure {
    match status.code() {
        Code::PermissionDenied => RequestFailure::new(StatusCode::FORBIDDEN, status.message()),
        Code::FailedPrecondition => RequestFailure::new(StatusCode::CONFLICT, status.message()),
        _ => status.into(),
    }
}

#[cfg(test)]
mod tests;
