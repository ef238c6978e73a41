//! How long a node key works before it has to be replaced, and when its machine replaces it without a person.
//!
//! ```text
//! bound                a tenth of the interval before     due          login_ends
//!   |-------- too early --------|------- renewed ----------|-- ended       |
//! ```
//!
//! A key that replaces another one works for an interval again, but not beyond the end of the login that let the node in:
//! then a person logs in, or brings a pre-auth key.

use bowline_proto::{
    identity::v1::RotationRules,
    key_registry::v1::{KeyRotation, Node},
};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    from_timestamp,
    key::{LONGEST_LIFE, has_ended},
    to_timestamp,
};
use crate::error::RegistryError;

/// The part of an interval, at its end, in which a key is replaced without a person.
const RENEWAL_PART: i32 = 10;
/// The least that an administrator can set for a node.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);

/// Returns how often the keys of a node with these tags have to be replaced: what an administrator said of the node counts
/// before the rules. Of several tags the shortest interval counts.
pub fn find_interval(rules: &RotationRules, node: &Node, tags: &[String]) -> Option<TimeDelta> {
    if node.key_never_expires {
        return None;
    }
    let read = |interval: &prost_types::Duration| TimeDelta::try_seconds(interval.seconds);
    if let Some(own) = &node.rotation_interval {
        return read(own);
    }
    if tags.is_empty() {
        return rules.interval.as_ref().and_then(read);
    }
    let fitting = rules.tags.iter().filter(|rule| tags.contains(&rule.tag));
    fitting
        .filter_map(|rule| rule.interval.as_ref().and_then(read))
        .min()
}

/// Checks an interval that an administrator sets for a node.
pub fn check_interval(interval: TimeDelta) -> Result<(), RegistryError> {
    if (SHORTEST..=LONGEST_LIFE).contains(&interval) {
        return Ok(());
    }
    let problem = "is not between a minute and 100 years";
    Err(RegistryError::invalid("every", problem))
}

/// Says until when a new key works: for an interval, if there is one, and no longer than the login.
pub fn start_interval(
    node: &mut Node,
    interval: Option<TimeDelta>,
    login_ends: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) {
    let due = interval.and_then(|interval| Some((interval, now.checked_add_signed(interval)?)));
    write_ends(node, due, login_ends);
}

/// Lets a key that is there follow another interval, or none. Of an older key at least the last tenth is left, so that its
/// machine can replace it.
pub fn change_interval(
    node: &mut Node,
    interval: Option<TimeDelta>,
    bound_at: DateTime<Utc>,
    now: DateTime<Utc>,
) {
    let is_same = interval == node.rotation.as_ref().and_then(read_interval);
    if is_same || has_ended(node, now) {
        return;
    }
    let login_ends = login_end(node);
    let due = interval.and_then(|interval| {
        let by_age = bound_at.checked_add_signed(interval)?;
        Some((interval, by_age.max(now + interval / RENEWAL_PART)))
    });
    write_ends(node, due, login_ends);
}

/// Says whether a node differs in what its interval follows from.
pub fn needs_interval(before: &Node, after: &Node) -> bool {
    let is_let_go =
        before.key_never_expires && !after.key_never_expires && after.key_expiry.is_none();
    before.tags != after.tags || before.rotation_interval != after.rotation_interval || is_let_go
}

/// Says whether a node's machine may replace the key without a person now.
pub fn may_renew(node: &Node, now: DateTime<Utc>) -> bool {
    let opens = node.rotation.as_ref().and_then(|rotation| {
        let due = rotation.due.and_then(from_timestamp)?;
        Some(due - read_interval(rotation)? / RENEWAL_PART)
    });
    !has_ended(node, now) && opens.is_some_and(|opens| now >= opens)
}

/// Returns when the login that let a node in ends.
pub fn login_end(node: &Node) -> Option<DateTime<Utc>> {
    let end = match &node.rotation {
        Some(rotation) => rotation.login_ends,
        None => node.key_expiry,
    };
    end.and_then(from_timestamp)
}

/// Lets a key end at a time that an administrator chose; its login does not end sooner.
pub fn move_due(node: &mut Node, end: DateTime<Utc>) {
    if let Some(rotation) = &mut node.rotation {
        rotation.due = Some(to_timestamp(end));
        let login = rotation.login_ends.and_then(from_timestamp);
        rotation.login_ends = login.map(|login| to_timestamp(login.max(end)));
    }
}

fn read_interval(rotation: &KeyRotation) -> Option<TimeDelta> {
    let interval = rotation.interval.as_ref()?;
    TimeDelta::try_seconds(interval.seconds)
}

fn write_ends(
    node: &mut Node,
    due: Option<(TimeDelta, DateTime<Utc>)>,
    login_ends: Option<DateTime<Utc>>,
) {
    let ends = due.map(|(_, due)| due).into_iter().chain(login_ends);
    node.key_expiry = ends.min().map(to_timestamp);
    node.rotation = due.map(|(interval, due)| KeyRotation {
        interval: Some(prost_types::Duration {
            seconds: interval.num_seconds(),
            nanos: 0,
        }),
        due: Some(to_timestamp(due)),
        login_ends: login_ends.map(to_timestamp),
    });
}

#[cfg(test)]
mod tests;
