//! Nodes that move in from another server, as they were there.

use std::collections::BTreeSet;

use bowline_db::{Mutation, SoftBatch, next_id};
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::Tailnet,
    key_registry::v1::{ImportNodesRequest, ImportNodesResponse, Node, SoftState},
};
use bowline_service_kit::Caller;
use serde_json::json;

use crate::{
    actors::machine_actor,
    domain::{self, address_pool::AddressPool, imported_node, node_limits},
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    nodes::Nodes,
    store::{
        node_keys, nodes, pools,
        soft_states::{self, SoftRow},
    },
    tailnet_lock::find_lock,
};

/// The most nodes of one request.
const MOST_NODES: usize = 1000;

/// The nodes of a request, checked.
struct NodeImport {
    tailnet: Tailnet,
    pool: AddressPool,
    nodes: Vec<(Node, SoftState)>,
    origin: String,
}

impl Nodes {
    /// Takes over nodes of another server, all or none. Those that are here already stay as they are, so that an import
    /// that was cut short is repeated.
    pub(crate) async fn import_nodes(
        &self,
        caller: Caller,
        request: ImportNodesRequest,
    ) -> Result<ImportNodesResponse, RegistryError> {
        let tailnet_id = read_tailnet_id(request.tailnet_id)?;
        let import = self.check_import(request).await?;
        let states: Vec<_> = import
            .nodes
            .iter()
            .map(|(_, state)| state.clone())
            .collect();
        let (answer, _) = self
            .log()
            .mutate_once_and_go_on(tailnet_id, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let (nodes, added) = write_nodes(mutation, import).await?;
                    Ok::<_, RegistryError>(ImportNodesResponse { nodes, added })
                })
            })
            .await?;
        let reported = answer.nodes.iter().cloned().zip(states).collect();
        self.log()
            .commit_soft_state(move |batch| Box::pin(write_states(batch, tailnet_id, reported)))
            .await?;
        Ok(answer)
    }

    async fn check_import(&self, request: ImportNodesRequest) -> Result<NodeImport, RegistryError> {
        let ImportNodesRequest {
            tailnet_id,
            nodes,
            origin,
        } = request;
        if nodes.len() > MOST_NODES {
            let problem = format!("are more than {MOST_NODES}");
            return Err(RegistryError::invalid("nodes", problem));
        }
        let found = self.services().resolve_tailnet(tailnet_id).await?;
        let tailnet = found.ok_or(RegistryError::NotFound("tailnet"))?;
        let pool = AddressPool::parse(&tailnet.ipv4_pool, &tailnet.ipv6_pool);
        let pool = pool.ok_or_else(|| {
            RegistryError::Refused("the tailnet's address pools do not parse".to_owned())
        })?;
        let now = self.log().database().now().await?;
        let checked = nodes
            .into_iter()
            .map(|node| imported_node::check_node(node, tailnet_id, now))
            .collect::<Result<Vec<_>, _>>()?;
        let owners: BTreeSet<u64> = checked.iter().map(|(node, _)| node.user_id).collect();
        for user_id in owners.into_iter().filter(|id| *id != 0) {
            let found = self.services().resolve_user(tailnet_id, user_id).await?;
            found.ok_or(RegistryError::NotFound("user"))?;
        }
        Ok(NodeImport {
            tailnet,
            pool,
            nodes: checked,
            origin,
        })
    }
}

/// Writes the nodes that are not here yet, and returns all as they are, with the number of those that were not.
async fn write_nodes(
    mutation: &mut Mutation,
    import: NodeImport,
) -> Result<(Vec<Node>, u32), RegistryError> {
    let NodeImport {
        tailnet,
        pool,
        nodes: imported,
        origin,
    } = import;
    let (mut written, mut added, mut routes_move) = (Vec::new(), 0, false);
    let is_locked = find_lock(mutation).await?.is_some();
    for (mut node, _) in imported {
        if let Some(present) = nodes::by_key(mutation.connection(), &node.node_key).await?
            && imported_node::is_same(&present, &node)
        {
            written.push(present);
            continue;
        }
        refuse_known_key(mutation, &node).await?;
        let on = mutation.connection();
        let counts = nodes::count_nodes(on, tailnet.id, node.user_id).await?;
        if let Some(text) = node_limits::find_refusal(counts) {
            return Err(RegistryError::TooManyNodes(text));
        }
        node.awaits_signature = is_locked;
        node.id = next_id(mutation.connection()).await?.cast_unsigned();
        let created_at = domain::to_timestamp(mutation.now());
        node.created_at = node.created_at.or(Some(created_at));
        complete_addresses(mutation, pool, &mut node).await?;
        node.name = node_changes::find_free_name(mutation, &node.name, node.id).await?;
        let now = mutation.now();
        node_keys::bind_key(mutation.connection(), &node, now).await?;
        node_changes::write_node(mutation, &node, None).await?;
        audit_import(mutation, &node, &origin);
        routes_move |= domain::routes::may_move_primaries(&Node::default(), &node);
        added += 1;
        written.push(node);
    }
    if routes_move {
        node_changes::elect_primaries(mutation).await?;
        for node in &mut written {
            let found = nodes::by_id(mutation.connection(), tailnet.id, node.id).await?;
            *node = found.ok_or(RegistryError::NotFound("node"))?;
        }
    }
    Ok((written, added))
}

/// Refuses a node whose key was bound to another here, be it only in the past.
async fn refuse_known_key(mutation: &mut Mutation, node: &Node) -> Result<(), RegistryError> {
    let (on, machine) = (mutation.connection(), &node.machine_key);
    match node_keys::holder_of_key(on, &node.node_key, machine).await? {
        None => Ok(()),
        Some(_) => Err(RegistryError::Refused(format!(
            "the node key of \"{}\" was in use here before, by another machine or by a node that is gone",
            node.name
        ))),
    }
}

/// Gives a node the address that the other server did not give it, and refuses one that another node has.
async fn complete_addresses(
    mutation: &mut Mutation,
    pool: AddressPool,
    node: &mut Node,
) -> Result<(), RegistryError> {
    let tailnet_id = node.tailnet_id;
    let parsed = node.ipv4.parse().ok();
    if node.ipv6.is_empty()
        && let Some(ipv4) = parsed
    {
        let beside = pool.pair_for(ipv4);
        let beside = beside.ok_or_else(|| RegistryError::tailnet_exhausted(pool))?;
        node.ipv6 = beside.ipv6.to_string();
    }
    if node.ipv4.is_empty() {
        let taken = pools::take_pair(mutation.connection(), tailnet_id, pool).await?;
        node.ipv4 = taken.ipv4.to_string();
        if node.ipv6.is_empty() {
            node.ipv6 = taken.ipv6.to_string();
        }
    }
    let addresses = [&node.ipv4, &node.ipv6];
    let holder = nodes::find_at(mutation.connection(), tailnet_id, addresses).await?;
    match holder {
        None => Ok(()),
        Some(name) => Err(RegistryError::Refused(format!(
            "\"{}\" has an address of \"{name}\": {}, {}",
            node.name, node.ipv4, node.ipv6
        ))),
    }
}

fn audit_import(mutation: &mut Mutation, node: &Node, origin: &str) {
    let detail = json!({
        "name": node.name,
        "ipv4": node.ipv4,
        "ipv6": node.ipv6,
        "tags": node.tags,
        "user": node.user_id,
        "machine": machine_actor(&node.machine_key),
        "hostname": node.hostname,
        "approved_routes": node.approved_routes,
        "from": origin,
    });
    mutation.record_audit("node.import", node.id.to_string(), &detail);
}

/// Keeps what the clients of nodes said last, unless they have reported here meanwhile.
async fn write_states(
    batch: &mut SoftBatch,
    tailnet: TailnetId,
    reported: Vec<(Node, SoftState)>,
) -> Result<(), RegistryError> {
    batch.lock_tailnet(tailnet).await?;
    let now = batch.now();
    for (node, state) in reported {
        if soft_states::by_node(batch.connection(), node.id)
            .await?
            .is_some()
        {
            continue;
        }
        let mut row = SoftRow::first_seen(&node, now);
        row.state = SoftState {
            node_id: node.id,
            soft_revision: batch.take_revision(tailnet).await?,
            last_seen: state.last_seen.or(row.state.last_seen),
            ..state
        };
        soft_states::put_row(batch.connection(), &row).await?;
    }
    Ok(())
}
