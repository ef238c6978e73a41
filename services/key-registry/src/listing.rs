//! Nodes as lists show them: those that are asked for, and that the caller may see.

use std::collections::{BTreeMap, BTreeSet};

use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{Node, NodeWithState};
use bowline_service_kit::Caller;
use sqlx::AnyConnection;

use crate::{
    error::RegistryError,
    nodes::{NodeTarget, Nodes, is_within_reach, within_reach},
    store::{approvals, nodes, soft_states},
};

/// Which nodes are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NodeFilter {
    /// Those of this user; of all for `None`.
    pub(crate) user: Option<u64>,
    /// Only those that wait for approval.
    pub(crate) awaits_approval: bool,
}

impl Nodes {
    /// Returns the nodes of a tailnet by name: those that are asked for and that the caller may see.
    pub(crate) async fn list_nodes(
        &self,
        caller: &Caller,
        tailnet: TailnetId,
        filter: NodeFilter,
    ) -> Result<Vec<NodeWithState>, RegistryError> {
        let user = filter.user.or(caller.bound_to_user());
        if user.is_some() || filter.awaits_approval {
            return self.list_some(caller, tailnet, user, filter).await;
        }
        let mut read = self.log().database().begin_read().await?;
        let mut nodes = nodes::of_tailnet(&mut *read, tailnet.get()).await?;
        let soft = soft_states::of_tailnet(&mut *read, tailnet.get()).await?;
        drop(read);
        let mut soft: BTreeMap<_, _> = soft
            .into_iter()
            .map(|state| (state.node_id, state))
            .collect();
        let mut sharing = find_shared_machines(&nodes);
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let listed = nodes.into_iter().map(|node| NodeWithState {
            soft: soft.remove(&node.id),
            // Most nodes share their machine key with nobody.
            shares_machine_with: sharing.remove(&node.id).unwrap_or_default(),
            node: Some(node),
        });
        Ok(listed.collect())
    }

    /// Reads what is returned, and not all of the tailnet.
    async fn list_some(
        &self,
        caller: &Caller,
        tailnet: TailnetId,
        user: Option<u64>,
        filter: NodeFilter,
    ) -> Result<Vec<NodeWithState>, RegistryError> {
        let mut read = self.log().database().begin_read().await?;
        let mut nodes = match user {
            Some(user) => nodes::of_user(&mut *read, tailnet.get(), user).await?,
            None => approvals::list_waiting(&mut *read, tailnet.get()).await?,
        };
        nodes.retain(|node| is_within_reach(caller, node));
        nodes.retain(|node| !filter.awaits_approval || !(node.approved || node.denied));
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let mut listed = Vec::with_capacity(nodes.len());
        for node in nodes {
            listed.push(add_state(&mut read, node).await?);
        }
        Ok(listed)
    }

    /// Returns a node of a tailnet.
    pub(crate) async fn get_node(
        &self,
        target: NodeTarget,
    ) -> Result<NodeWithState, RegistryError> {
        let (tailnet_id, node_id) = (target.tailnet.get(), target.node_id);
        let mut read = self.log().database().begin_read().await?;
        let node = nodes::by_id(&mut *read, tailnet_id, node_id).await?;
        add_state(&mut read, within_reach(&target.caller, node)?).await
    }
}

async fn add_state(on: &mut AnyConnection, node: Node) -> Result<NodeWithState, RegistryError> {
    let of_machine = nodes::all_of_machine(&mut *on, node.tailnet_id, &node.machine_key).await?;
    let mut sharing = find_shared_machines(&of_machine);
    let soft = soft_states::by_node(on, node.id).await?;
    Ok(NodeWithState {
        soft: soft.map(|row| row.state),
        // Most nodes share their machine key with nobody.
        shares_machine_with: sharing.remove(&node.id).unwrap_or_default(),
        node: Some(node),
    })
}

/// Says of each node which others are on another machine with the same machine key.
fn find_shared_machines(nodes: &[Node]) -> BTreeMap<u64, Vec<u64>> {
    let present: BTreeSet<u64> = nodes.iter().map(|node| node.id).collect();
    let mut sharing: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for node in nodes {
        let other = node.machine_shared_with;
        if present.contains(&other) {
            sharing.entry(node.id).or_default().push(other);
            sharing.entry(other).or_default().push(node.id);
        }
    }
    sharing
}
