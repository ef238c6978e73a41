//! The life of a node key: how long it is good, and who may shorten or end it.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};

use super::{from_timestamp, rotation::KeyOwner, to_timestamp};
use crate::error::RegistryError;

/// The verdict on a request for a key that is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundKeyVerdict {
    /// The key belongs to another machine.
    AnotherMachines,
    /// The client wishes the key to end.
    Logout,
    /// The key has ended.
    Ended,
    /// The client wishes an earlier end.
    Shorten(DateTime<Utc>),
    /// The key is good.
    Good,
}

/// Judges a request for a key that is bound to `node` (protocol section 5.3).
pub fn judge_bound_key(
    node: &Node,
    machine_key: &[u8],
    wished_end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> BoundKeyVerdict {
    if node.machine_key != machine_key {
        return BoundKeyVerdict::AnotherMachines;
    }
    if wished_end.is_some_and(|end| end <= now) {
        return BoundKeyVerdict::Logout;
    }
    if has_ended(node, now) {
        return BoundKeyVerdict::Ended;
    }
    match wished_end {
        Some(end) if can_end(node, end) => BoundKeyVerdict::Shorten(end),
        _ => BoundKeyVerdict::Good,
    }
}

/// Says whether a node's key can end at a time: only sooner than it does.
pub fn can_end(node: &Node, end: DateTime<Utc>) -> bool {
    let current = node.key_expiry.and_then(from_timestamp);
    !node.expired && current.is_none_or(|current| end < current)
}

/// When an administrator wants a key to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedExpiry {
    /// Never, nor later keys of the node.
    Never,
    /// At a time.
    At(DateTime<Utc>),
    /// So long from now.
    After(TimeDelta),
}

/// How far ahead an end may be: clients read no year of five digits.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(100 * 365);

/// Says when a node's key ends, unless it has: then only a login makes the node good again.
pub fn set_expiry(
    node: &mut Node,
    wanted: WantedExpiry,
    now: DateTime<Utc>,
) -> Result<(), RegistryError> {
    if has_ended(node, now) {
        let text = "the key has ended, and stays so: the device has to log in again";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    let (field, end) = match wanted {
        WantedExpiry::Never => {
            (node.key_expiry, node.key_never_expires) = (None, true);
            return Ok(());
        }
        WantedExpiry::At(end) => ("at", Some(end)),
        WantedExpiry::After(life) => ("after", now.checked_add_signed(life)),
    };
    if !node.tags.is_empty() {
        let text = "keys of tagged nodes do not end by time: end it now (bowline nodes expire), or disable the node";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    let end = end.filter(|end| *end <= now + LONGEST_LIFE);
    let far = "is more than 100 years ahead: never is the word for that";
    let end = end.ok_or_else(|| RegistryError::invalid(field, far))?;
    if end <= now {
        let past = "lies in the past: to end the key now, expire the node";
        return Err(RegistryError::invalid(field, past));
    }
    (node.key_expiry, node.key_never_expires) = (Some(to_timestamp(end)), false);
    Ok(())
}

/// Ends a node's key now, unless it has ended already.
pub fn end_key(node: &mut Node, now: DateTime<Utc>) {
    if !has_ended(node, now) {
        node.key_expiry = Some(to_timestamp(now));
    }
    node.expired = true;
}

/// Takes the end off the key of a node that is tagged now: keys of tagged nodes do not end by time. One that has ended
/// stays so, also before the sweep has marked it.
pub fn remove_end(node: &mut Node, now: DateTime<Utc>) {
    if !has_ended(node, now) {
        node.key_expiry = None;
    }
}

/// Says whether a node's key has ended.
pub fn has_ended(node: &Node, now: DateTime<Utc>) -> bool {
    node.expired
        || node
            .key_expiry
            .and_then(from_timestamp)
            .is_some_and(|end| end <= now)
}

/// Returns when a new key ends: tagged nodes' keys do not, a wish can only shorten.
pub fn compute_expiry(
    owner: &KeyOwner,
    lifetime: Option<TimeDelta>,
    wished_end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<prost_types::Timestamp> {
    let by_tailnet = if owner.tags.is_empty() {
        lifetime.and_then(|lifetime| now.checked_add_signed(lifetime))
    } else {
        None
    };
    let wished = wished_end.filter(|end| *end > now);
    by_tailnet.into_iter().chain(wished).min().map(to_timestamp)
}

#[cfg(test)]
mod tests;
