//! Writes of nodes inside a mutation: the row, the log entry, and what follows from it.

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::{Node, RegistryChange, registry_change::Change};

use crate::{
    domain::{hostname, key, routes},
    error::RegistryError,
    own_changes,
    store::{nodes, retired_keys},
};

/// Writes a node as it is from here on.
pub async fn write_node(
    mutation: &mut Mutation,
    node: &Node,
    login_id: Option<String>,
) -> Result<(), RegistryError> {
    nodes::put_node(mutation.connection(), node, login_id).await?;
    record_node(mutation, node);
    Ok(())
}

/// Logs a node as it is written.
pub fn record_node(mutation: &mut Mutation, node: &Node) {
    mutation.record_entry(&RegistryChange::from(Change::Node(node.clone())));
}

/// Deletes a node; its key stays retired.
pub async fn delete_node(mutation: &mut Mutation, node: &Node) -> Result<(), RegistryError> {
    own_changes::audit_deferred_change(mutation, node).await?;
    nodes::delete_node(mutation.connection(), node.id).await?;
    let now = mutation.now();
    retired_keys::mark_retired(mutation.connection(), &node.node_key, now).await?;
    mutation.record_entry(&RegistryChange::from(Change::NodeDeleted(node.id)));
    if !node.primary_routes.is_empty() {
        elect_primaries(mutation).await?;
    }
    Ok(())
}

/// Ends a node's key now; what it routed goes to others.
pub async fn expire_key(mutation: &mut Mutation, node: Node) -> Result<Node, RegistryError> {
    let node = end_key(mutation, node).await?;
    if !node.primary_routes.is_empty() {
        elect_primaries(mutation).await?;
    }
    Ok(node)
}

/// Ends a node's key now; whoever calls it elects again if the node was a primary router.
pub async fn end_key(mutation: &mut Mutation, mut node: Node) -> Result<Node, RegistryError> {
    own_changes::audit_deferred_change(mutation, &node).await?;
    key::end_key(&mut node, mutation.now());
    write_node(mutation, &node, None).await?;
    Ok(node)
}

/// Lets a node's name follow its hostname where that has changed, unless an administrator chose it.
pub async fn follow_hostname(
    mutation: &mut Mutation,
    node: &mut Node,
    hostname_before: &str,
) -> Result<(), RegistryError> {
    let label = hostname::derive_label(&node.hostname);
    let is_right =
        node.hostname == hostname_before || hostname::is_derived_from(&node.name, &label);
    if node.name.is_empty() || !node.name_chosen && !is_right {
        node.name = find_free_name(mutation, &label, node.id).await?;
    }
    Ok(())
}

/// Gives every route of the tailnet its primary router, logs the nodes that differ, and returns them.
pub async fn elect_primaries(mutation: &mut Mutation) -> Result<Vec<u64>, RegistryError> {
    let tailnet = mutation.tailnet().get();
    let routers = nodes::list_routers(mutation.connection(), tailnet).await?;
    let moved = routes::elect_primaries(&routers);
    for node in &moved {
        write_node(mutation, node, None).await?;
    }
    Ok(moved.into_iter().map(|node| node.id).collect())
}

/// Returns the first form of a label that no other node of the tailnet has.
pub async fn find_free_name(
    mutation: &mut Mutation,
    label: &str,
    node_id: u64,
) -> Result<String, RegistryError> {
    let tailnet = mutation.tailnet().get();
    let taken = |holder: Option<u64>| holder.is_some_and(|holder| holder != node_id);
    if !taken(nodes::find_named(mutation.connection(), tailnet, label).await?) {
        return Ok(label.to_owned());
    }
    let mut number = nodes::count_named(mutation.connection(), tailnet, label)
        .await?
        .max(1);
    loop {
        let name = hostname::number_label(label, number);
        if !taken(nodes::find_named(mutation.connection(), tailnet, &name).await?) {
            return Ok(name);
        }
        number += 1;
    }
}
