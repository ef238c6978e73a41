//! The removal of nodes that nobody needs any more.

use bowline_db::ChangeLog;
use bowline_proto::key_registry::v1::Node;
use serde_json::json;

use crate::{
    actors::REGISTRY_ACTOR,
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    store::{
        kept_out_machines, nodes,
        soft_states::{self, SoftRow},
    },
};

/// Deletes a node that is still there, with the same key, and still as it has to be for that.
pub async fn remove_node(
    log: &ChangeLog,
    node: Node,
    action: &'static str,
    is_still: impl Fn(&Node, Option<&SoftRow>) -> bool + Send + 'static,
) -> Result<(), RegistryError> {
    let tailnet = read_tailnet_id(node.tailnet_id)?;
    log.mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
        Box::pin(async move {
            let found = nodes::by_key(mutation.connection(), &node.node_key).await?;
            let soft = soft_states::by_node(mutation.connection(), node.id).await?;
            let found = found.filter(|node| is_still(node, soft.as_ref()));
            let Some(node) = found else { return Ok(()) };
            if node.is_kept_out() {
                kept_out_machines::add_machine(mutation.connection(), &node).await?;
            }
            node_changes::delete_node(mutation, &node).await?;
            let detail = json!({ "name": node.name });
            mutation.record_audit(action, node.id.to_string(), &detail);
            Ok::<_, RegistryError>(())
        })
    })
    .await?;
    Ok(())
}
