//! Limits on new nodes and new keys: how many nodes there may be, and how often a key may change.
//!
//! A refusal rolls the transaction back, so that it leaves no trace.

use std::time::Duration;

use bowline_db::{Mutation, from_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use super::bind::BindRequest;
use crate::{
    domain::{
        node_limits::{self, NodeCounts},
        pace::{self, Pace},
        rotation::KeyOwner,
    },
    error::RegistryError,
    store::{
        adoptions::{self, AdoptionRow},
        nodes,
    },
};

/// Counts one more change of a node's key, or refuses it; returns the row with the count, which the caller writes.
pub(super) async fn take_rotation(
    mutation: &mut Mutation,
    node: &Node,
) -> Result<AdoptionRow, RegistryError> {
    let now = mutation.now();
    let asked = adoptions::by_node(mutation.connection(), node.id).await?;
    let mut asked = asked.unwrap_or_else(|| AdoptionRow::for_node(node));
    let rested_at = from_micros(asked.rested_at).unwrap_or(now);
    let rested_at = take_turn(pace::ROTATIONS, rested_at, now, || {
        "this device has changed its key many times in a row: it tries again by itself".to_owned()
    })?;
    asked.rested_at = bowline_db::to_micros(rested_at);
    Ok(asked)
}

/// Who is counted for new nodes.
#[derive(Debug)]
pub(super) struct NodeMaker {
    /// The name under which is noted when it is rested.
    pub(super) name: String,
    /// What it is called.
    kind: &'static str,
}

impl NodeMaker {
    /// Returns who is counted: the user, however many keys the user has, and for a key without user the key.
    pub(super) fn of(pre_auth_key: Option<&str>, user_id: u64) -> Self {
        let (name, kind) = match (user_id, pre_auth_key) {
            (0, Some(key)) => (format!("pre-auth-key:{key}"), "key"),
            (user, _) => (format!("user:{user}"), "user"),
        };
        Self { name, kind }
    }
}

/// Counts one more node, or refuses it; returns when the maker is rested then, which the caller writes. Until now that is `rested_at`.
pub(super) async fn take_new_node(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    owner: &KeyOwner,
    maker: &NodeMaker,
    rested_at: Option<DateTime<Utc>>,
) -> Result<DateTime<Utc>, RegistryError> {
    let refusing = find_refusal(mutation, bind_request, owner, node_limits::find_refusal);
    if let Some(text) = refusing.await? {
        return Err(RegistryError::TooManyNodes(text));
    }
    let now = mutation.now();
    let kind = maker.kind;
    take_turn(pace::NEW_NODES, rested_at.unwrap_or(now), now, || {
        format!("many devices of this {kind} join at the moment: this one tries again by itself")
    })
}

/// Says why there may not be one more node, if so. Nodes are counted only where there could be too many since the last count.
pub(super) async fn find_refusal(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    owner: &KeyOwner,
    refuse: impl Fn(NodeCounts) -> Option<String>,
) -> Result<Option<String>, RegistryError> {
    let most = bind_request.counted.most_at(mutation.revision().get());
    if most.is_some_and(|most| refuse(most).is_none()) {
        return Ok(None);
    }
    let (tailnet, user_id) = (mutation.tailnet(), owner.user_id);
    bind_request.memory.forget_count(tailnet, user_id);
    let counts = nodes::count_nodes(mutation.connection(), tailnet.get(), user_id).await?;
    Ok(refuse(counts))
}

fn take_turn(
    pace: Pace,
    rested_at: DateTime<Utc>,
    now: DateTime<Utc>,
    text: impl FnOnce() -> String,
) -> Result<DateTime<Utc>, RegistryError> {
    pace::next_rest(pace, rested_at, now).map_err(|due| {
        let wait = (due - now).to_std().unwrap_or(Duration::ZERO);
        RegistryError::TooOften { text: text(), wait }
    })
}
