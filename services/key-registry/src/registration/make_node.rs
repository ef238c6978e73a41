//! Makes a node: all that is written for it goes to the database in one statement.

use bowline_db::{Mutation, SqlDialect, StatementGroup, keep_id};
use bowline_proto::key_registry::v1::{Node, PreAuthKey};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    bind::{BindRequest, approve_by_rule, ask_outside},
    limits::{self, NodeMaker},
    new_node::{AllocatedNode, allocate_node, audit_binding, describe_node, name_node, set_key},
};
use crate::{
    actors::machine_actor,
    domain::{rotation::Registrant, routes},
    error::RegistryError,
    node_changes,
    store::{node_keys, nodes, paces, pools, pre_auth_keys, registrants::RegistrantFacts},
};

/// What a new node is made from.
pub(super) struct NewNodeOrigin {
    /// Another node that is in use with the same machine key, if there is one.
    pub(super) shared_with: Option<Box<Node>>,
    /// Whether it has a node that is disabled: another login is no way around that.
    pub(super) is_disabled: bool,
    /// The pre-auth key, as it is used for the node.
    pub(super) used_key: Option<PreAuthKey>,
    pub(super) maker: NodeMaker,
    pub(super) facts: RegistrantFacts,
}

/// Makes a node, and binds the key to it.
pub(super) async fn make_node(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    registrant: &Registrant,
    origin: NewNodeOrigin,
) -> Result<Node, RegistryError> {
    let NewNodeOrigin { maker, facts, .. } = &origin;
    let (owner, rested_at) = (&registrant.owner, facts.rested_at);
    let taking = limits::take_new_node(mutation, bind_request, owner, maker, rested_at);
    let rested_at = taking.await?;
    let allocated = allocate_node(mutation, bind_request, facts).await?;
    let AllocatedNode {
        mut node,
        next_place,
    } = allocated;
    set_key(&mut node, bind_request, registrant, mutation.now());
    describe_node(&mut node, bind_request, registrant);
    node.disabled = origin.is_disabled;
    node.machine_shared_with = origin.shared_with.as_ref().map_or(0, |other| other.id);
    name_node(mutation, bind_request, facts, &mut node).await?;
    approve_by_rule(mutation, bind_request, &mut node);
    write_new_node(
        mutation,
        bind_request,
        &origin,
        &node,
        NewNodeTraces {
            rested_at,
            next_place,
        },
    )
    .await?;
    ask_outside(mutation, bind_request, &node).await?;
    audit_binding(mutation, "node.register", bind_request, None, &node);
    if let Some(other) = origin.shared_with {
        let machine = machine_actor(&node.machine_key);
        tracing::warn!(
            machine,
            node = node.id,
            other = other.id,
            "two machines share a machine key: one is a copy of the other's disk"
        );
        let detail = json!({
            "name": node.name,
            "other": other.id,
            "other_name": other.name,
            "machine": machine,
            "source": bind_request.request.source_address,
        });
        mutation.record_audit("machine.shared", node.id.to_string(), &detail);
    }
    Ok(node)
}

/// What a new node leaves beside its row.
struct NewNodeTraces {
    /// When its maker is rested.
    rested_at: DateTime<Utc>,
    /// The place from which on no addresses are given, where that changes.
    next_place: Option<u32>,
}

/// Writes a new node with its key, and all that is counted for it, in one statement.
async fn write_new_node(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    origin: &NewNodeOrigin,
    node: &Node,
    traces: NewNodeTraces,
) -> Result<(), RegistryError> {
    let (tailnet, maker, now) = (node.tailnet_id, &origin.maker.name, mutation.now());
    let mut group = StatementGroup::default();
    if let Some(key) = &origin.used_key {
        pre_auth_keys::add_update(&mut group, key);
    }
    if origin.facts.rested_at.is_none() {
        paces::add_forgetting(&mut group, tailnet, maker, now);
    }
    paces::add_rest(&mut group, tailnet, maker, traces.rested_at);
    if let Some(next_place) = traces.next_place {
        pools::add_next_place(&mut group, tailnet, next_place);
    }
    let dialect = SqlDialect::of(mutation.connection());
    keep_id(&mut group, dialect, origin.facts.next_id);
    node_keys::add_binding(&mut group, node, now);
    nodes::add_node(&mut group, node, bind_request.credential.login_id.clone());
    group.execute(mutation.connection()).await?;
    node_changes::record_node(mutation, node);
    if let Some(next_place) = traces.next_place {
        bind_request.memory.note_place(tailnet, next_place);
    }
    if routes::may_move_primaries(&Node::default(), node) {
        node_changes::elect_primaries(mutation).await?;
    }
    Ok(())
}
