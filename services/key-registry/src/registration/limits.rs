//! Limits on new nodes and new keys: how many nodes there may be, and how often a key may change.
//!
//! A refusal rolls the transaction back, so that it leaves no trace.

use std::time::Duration;

use bowline_db::{Mutation, from_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use crate::{
    domain::{
        node_limits,
        pace::{self, Pace},
        rotation::KeyOwner,
    },
    error::RegistryError,
    store::{
        adoptions::{self, AdoptionRow},
        nodes, paces,
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

/// Counts one more node, or refuses it. The count belongs to the user, however many keys the user has, and for a key
/// without user to the key.
pub(super) async fn take_new_node(
    mutation: &mut Mutation,
    pre_auth_key: Option<&str>,
    owner: &KeyOwner,
) -> Result<(), RegistryError> {
    let now = mutation.now();
    let counts = nodes::count_nodes(mutation.connection(), owner.tailnet_id, owner.user_id).await?;
    if let Some(text) = node_limits::find_refusal(counts) {
        return Err(RegistryError::TooManyNodes(text));
    }
    let (maker, named) = match (owner.user_id, pre_auth_key) {
        (0, Some(key)) => (format!("pre-auth-key:{key}"), "key"),
        (user, _) => (format!("user:{user}"), "user"),
    };
    let on = mutation.connection();
    let rested_at = paces::rested_at(on, owner.tailnet_id, &maker).await?;
    let rested_at = take_turn(pace::NEW_NODES, rested_at.unwrap_or(now), now, || {
        format!("many devices of this {named} join at the moment: this one tries again by itself")
    })?;
    let on = mutation.connection();
    paces::put_rest(on, owner.tailnet_id, &maker, rested_at, now).await?;
    Ok(())
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
