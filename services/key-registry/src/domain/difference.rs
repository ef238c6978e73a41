//! What differs between two states of a node, for the audit trail.

use bowline_proto::key_registry::v1::Node;
use serde_json::{Map, Value, json};

use super::{attributes, from_timestamp};

/// Returns the fields that differ, as they were and as they are.
pub fn changed_fields(before: &Node, after: &Node) -> (Value, Value) {
    let (mut was, mut is) = (Map::new(), Map::new());
    for ((name, old), (_, new)) in audited_fields(before)
        .into_iter()
        .zip(audited_fields(after))
    {
        if old != new {
            was.insert(name.to_owned(), old);
            is.insert(name.to_owned(), new);
        }
    }
    if let Some((old, new)) = attributes::changed_attributes(before, after) {
        was.insert("attributes".to_owned(), old);
        is.insert("attributes".to_owned(), new);
    }
    (was.into(), is.into())
}

/// Returns a detail with the fields that differ added as `before` and `after`.
pub fn add_changes(mut detail: Value, before: &Node, after: &Node) -> Value {
    (detail["before"], detail["after"]) = changed_fields(before, after);
    detail
}

/// Returns what an audit entry of a node's own change says, and the action it is.
pub fn describe_own_change(before: &Node, after: &Node) -> (&'static str, Value) {
    let differs_in_expiry_only = Node {
        key_expiry: after.key_expiry,
        rotation: after.rotation,
        ..before.clone()
    } == *after;
    if differs_in_expiry_only {
        let detail = json!({ "name": after.name });
        return ("node.shorten", add_changes(detail, before, after));
    }
    let differs_in_attributes_only = Node {
        attributes: after.attributes.clone(),
        ..before.clone()
    } == *after;
    if differs_in_attributes_only {
        let detail = json!({ "by": "node", "name": after.name });
        let detail = add_changes(detail, before, after);
        return ("node.set_attributes", detail);
    }
    let action = if before.advertised_routes == after.advertised_routes {
        "node.describe"
    } else {
        "node.advertise"
    };
    let detail = json!({
        "hostname": after.hostname,
        "os": after.os,
        "client": after.client_version,
        "routes": after.advertised_routes,
        "tags": after.tags,
    });
    (action, add_changes(detail, before, after))
}

/// Returns the fields that the audit trail shows before and after a change; a new field that somebody can change belongs
/// here.
///
/// Left out is what never changes (numbers, machine key, addresses, when it was made), what an entry of its own tells
/// (a new node key, the election of routers, a shared machine key), and what others here imply.
fn audited_fields(node: &Node) -> [(&'static str, Value); 22] {
    let end = node
        .key_expiry
        .and_then(from_timestamp)
        .map(|end| end.to_rfc3339());
    let tagged_by = node.tagged_by().as_str_name();
    let tagged_by = tagged_by.trim_start_matches("TAGGED_BY_").to_lowercase();
    [
        ("name", json!(node.name)),
        ("user", json!(node.user_id)),
        ("tags", json!(node.tags)),
        ("tagged_by", json!(tagged_by)),
        ("routes", json!(node.advertised_routes)),
        ("approved_routes", json!(node.approved_routes)),
        ("key_expiry", json!(end)),
        ("expired", json!(node.expired)),
        ("key_never_expires", json!(node.key_never_expires)),
        (
            "rotation_interval_seconds",
            json!(node.rotation_interval.map(|interval| interval.seconds)),
        ),
        ("approved", json!(node.approved)),
        ("denied", json!(node.denied)),
        ("disabled", json!(node.disabled)),
        ("awaits_signature", json!(node.awaits_signature)),
        ("ephemeral", json!(node.ephemeral)),
        ("hostname", json!(node.hostname)),
        ("os", json!(node.os)),
        ("os_version", json!(node.os_version)),
        ("client", json!(node.client_version)),
        ("auto_update", json!(node.auto_update)),
        ("state_encrypted", json!(node.state_encrypted)),
        ("requested_tags", json!(node.requested_tags)),
    ]
}

#[cfg(test)]
mod tests;
