//! Node keys that two machines use, most likely because a disk was copied: recorded for the administrator.

use bowline_db::ChangeLog;
use bowline_proto::key_registry::v1::{Node, SharedKey};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::{
    domain::{self, to_timestamp},
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    store::nodes,
};

/// How long after an entry the next is written, while the machines go on.
const AUDIT_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// Says whether the shared use of a node's key is to be recorded now.
pub fn is_audit_due(node: &Node, now: DateTime<Utc>) -> bool {
    let known = node.shared_key.as_ref();
    let known = known.filter(|known| known.node_key == node.node_key);
    let seen_at = known
        .and_then(|known| known.seen_at)
        .and_then(domain::from_timestamp);
    seen_at.is_none_or(|seen_at| now - seen_at >= AUDIT_INTERVAL)
}

/// Records that two machines use a node's key.
pub async fn record_shared_key(log: &ChangeLog, node: Node) -> Result<(), RegistryError> {
    let tailnet = read_tailnet_id(node.tailnet_id)?;
    log.mutate(tailnet, "service:netmap-gateway", move |mutation| {
        Box::pin(async move {
            let now = mutation.now();
            let found = nodes::by_key(mutation.connection(), &node.node_key).await?;
            let Some(mut node) = found.filter(|node| is_audit_due(node, now)) else {
                return Ok(());
            };
            node.shared_key = Some(SharedKey {
                node_key: node.node_key.clone(),
                seen_at: Some(to_timestamp(now)),
            });
            node_changes::write_node(mutation, &node, None).await?;
            let detail = json!({ "name": node.name, "user": node.user_id });
            mutation.record_audit("node.key_shared", node.id.to_string(), &detail);
            Ok::<_, RegistryError>(())
        })
    })
    .await?;
    Ok(())
}
