//! The life of a node key: how long it is good, and who may shorten or end it.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};

use super::{from_timestamp, rotation::KeyOwner, rotation_interval, to_timestamp};
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

/// Lets a key end sooner, as its machine wishes: a key that replaces it without a person ends then, too.
pub fn shorten(node: &mut Node, end: DateTime<Utc>) {
    node.key_expiry = Some(to_timestamp(end));
    if let Some(rotation) = &mut node.rotation {
        rotation.login_ends = Some(to_timestamp(end));
    }
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
    /// So often, and later keys of the node, too.
    Every(TimeDelta),
    /// As the key policy says, and no other way.
    ByPolicy,
}

/// How far ahead an end may be: clients read no year of five digits.
pub const LONGEST_LIFE: TimeDelta = TimeDelta::days(100 * 365);

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
            (node.rotation, node.rotation_interval) = (None, None);
            return Ok(());
        }
        WantedExpiry::ByPolicy => {
            (node.key_never_expires, node.rotation_interval) = (false, None);
            return Ok(());
        }
        WantedExpiry::Every(interval) => {
            rotation_interval::check_interval(interval)?;
            node.key_never_expires = false;
            node.rotation_interval = Some(prost_types::Duration {
                seconds: interval.num_seconds(),
                nanos: 0,
            });
            return Ok(());
        }
        WantedExpiry::At(end) => ("at", Some(end)),
        WantedExpiry::After(life) => ("after", now.checked_add_signed(life)),
    };
    if !node.tags.is_empty() && node.rotation.is_none() {
        let text = "keys of tagged nodes do not end by time, unless an interval of rotation is set (bowline nodes set-expiry NODE \
                    --every 90d, or rotation in the key policy): end it now (bowline nodes expire), or disable the node";
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
    rotation_interval::move_due(node, end);
    Ok(())
}

/// Ends a node's key now, unless it has ended already.
pub fn end_key(node: &mut Node, now: DateTime<Utc>) {
    if !has_ended(node, now) {
        node.key_expiry = Some(to_timestamp(now));
    }
    node.expired = true;
}

/// Takes the end off the key of a node that is tagged now: keys of tagged nodes do not end by time, unless an interval is
/// set for the tag. One that has ended stays so, also before the sweep has marked it.
pub fn remove_end(node: &mut Node, now: DateTime<Utc>) {
    if !has_ended(node, now) {
        (node.key_expiry, node.rotation) = (None, None);
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

/// Returns when the login of a new key ends: tagged nodes' does not, a wish can only shorten.
pub fn compute_login_end(
    owner: &KeyOwner,
    lifetime: Option<TimeDelta>,
    wished_end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let by_tailnet = if owner.tags.is_empty() {
        lifetime.and_then(|lifetime| now.checked_add_signed(lifetime))
    } else {
        None
    };
    let wished = wished_end.filter(|end| *end > now);
    by_tailnet.into_iter().chain(wished).min()
}

#[cfg(test)]
mod tests;
