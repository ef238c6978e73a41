//! Node keys that two machines use, most likely a disk and its copy: put on record for the administrator.

use bowline_proto::key_registry::v1::{Node, SharedKey};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::{
    KeyRegistry,
    domain::{self, to_timestamp},
    error::RegistryError,
    node_changes,
    registration::read_tailnet_id,
    store::nodes,
};

/// How long an entry stands before the next: machines that go on are put on record once an hour.
const AUDIT_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// Says whether it has to be put on record that two machines use a node's key.
pub fn is_audit_due(node: &Node, now: DateTime<Utc>) -> bool {
    let known = node.shared_key.as_ref();
    let known = known.filter(|known| known.node_key == node.node_key);
    let seen_at = known
        .and_then(|known| known.seen_at)
        .and_then(domain::from_timestamp);
    seen_at.is_none_or(|seen_at| now - seen_at >= AUDIT_INTERVAL)
}

impl KeyRegistry {
    /// Puts it on record that two machines use a node's key.
    pub(crate) async fn record_shared_key(&self, node: Node) -> Result<(), RegistryError> {
        let tailnet = read_tailnet_id(node.tailnet_id)?;
        self.log
            .mutate(tailnet, "service:netmap-gateway", move |mutation| {
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
}
