//! What is looked at before a node is made or takes another key: how many there are, and how often that happens.
//!
//! Nothing is kept where something is refused: the transaction goes back.

use std::time::Duration;

use bowline_db::{Mutation, from_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use super::{bind::BindRequest, key};
use crate::{
    domain::{
        node_limits,
        pace::{self, Pace},
    },
    error::RegistryError,
    store::{
        adoptions::{self, AdoptionRow},
        nodes, paces,
    },
};

/// Takes a node's turn to have another node key; returns its row, which the caller writes.
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

/// Takes the turn to make a node of whoever's credentials make it: the user, who may have many keys, or a key without
/// user.
pub(super) async fn take_new_node(
    mutation: &mut Mutation,
    wish: &BindRequest,
    owner: &key::KeyOwner,
) -> Result<(), RegistryError> {
    let now = mutation.now();
    let counts = nodes::count_nodes(mutation.connection(), owner.tailnet_id, owner.user_id).await?;
    if let Some(text) = node_limits::find_refusal(counts) {
        return Err(RegistryError::TooManyNodes(text));
    }
    let (maker, named) = match (owner.user_id, &wish.credential.pre_auth_key) {
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
