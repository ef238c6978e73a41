//! The life of a node key: bound, renewed, rotated, ended.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};

use super::{time, timestamp};

/// What a client that holds a known key is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
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
pub fn known(
    node: &Node,
    machine_key: &[u8],
    wished_end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Known {
    if node.machine_key != machine_key {
        return Known::AnotherMachines;
    }
    if wished_end.is_some_and(|end| end <= now) {
        return Known::Logout;
    }
    if has_ended(node, now) {
        return Known::Ended;
    }
    match wished_end {
        Some(end) if can_end(node, end) => Known::Shorten(end),
        _ => Known::Good,
    }
}

/// Says whether a node's key can end at a time: only sooner than it does.
pub fn can_end(node: &Node, end: DateTime<Utc>) -> bool {
    let current = node.key_expiry.and_then(time);
    !node.expired && current.is_none_or(|current| end < current)
}

/// Says whether a node's key has ended.
pub fn has_ended(node: &Node, now: DateTime<Utc>) -> bool {
    node.expired || node.key_expiry.and_then(time).is_some_and(|end| end <= now)
}

/// Who a key is registered for: decides whether an old node carries over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The tailnet.
    pub tailnet_id: u64,
    /// The user, zero for none.
    pub user_id: u64,
    /// The tags; with tags the node belongs to no user.
    pub tags: Vec<String>,
}

/// Says whether a new key replaces the key of `old`, which the client names as its last: the same machine, the same
/// tailnet, the same owner (protocol section 3.6). Else the new key is a new node.
pub fn replaces(old: &Node, machine_key: &[u8], owner: &Owner) -> bool {
    let same_owner = if owner.tags.is_empty() {
        old.tags.is_empty() && old.user_id == owner.user_id
    } else {
        !old.tags.is_empty() || old.user_id == owner.user_id
    };
    old.machine_key == machine_key && old.tailnet_id == owner.tailnet_id && same_owner
}

/// Returns when a new key ends: tagged nodes' keys do not, a wish can only shorten.
pub fn expiry(
    owner: &Owner,
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
    by_tailnet.into_iter().chain(wished).min().map(timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn node() -> Node {
        Node {
            machine_key: vec![1; 32],
            user_id: 7,
            tailnet_id: 3,
            ..Node::default()
        }
    }

    #[test]
    fn key_of_another_machine_is_never_honoured() {
        for wish in [None, Some(now()), Some(now() + TimeDelta::days(1))] {
            assert_eq!(
                known(&node(), &[2; 32], wish, now()),
                Known::AnotherMachines
            );
        }
    }

    #[test]
    fn past_wish_is_a_logout_even_of_an_ended_key() {
        let wish = DateTime::from_timestamp(123, 0);
        assert_eq!(known(&node(), &[1; 32], wish, now()), Known::Logout);
        let ended = Node {
            expired: true,
            ..node()
        };
        assert_eq!(known(&ended, &[1; 32], wish, now()), Known::Logout);
        assert_eq!(known(&ended, &[1; 32], None, now()), Known::Ended);
    }

    #[test]
    fn end_can_only_come_sooner() {
        let end = now() + TimeDelta::days(10);
        let ending = Node {
            key_expiry: Some(timestamp(end)),
            ..node()
        };
        let sooner = now() + TimeDelta::days(1);
        assert_eq!(
            known(&ending, &[1; 32], Some(sooner), now()),
            Known::Shorten(sooner)
        );
        assert_eq!(
            known(&ending, &[1; 32], Some(end + TimeDelta::days(1)), now()),
            Known::Good
        );
        assert_eq!(known(&ending, &[1; 32], None, end), Known::Ended);
    }

    #[test]
    fn only_the_same_machine_and_owner_replace_a_key() {
        let owner = Owner {
            tailnet_id: 3,
            user_id: 7,
            tags: Vec::new(),
        };
        assert!(replaces(&node(), &[1; 32], &owner));
        assert!(!replaces(&node(), &[2; 32], &owner));
        assert!(!replaces(
            &node(),
            &[1; 32],
            &Owner {
                user_id: 8,
                ..owner.clone()
            }
        ));
        assert!(!replaces(
            &node(),
            &[1; 32],
            &Owner {
                tailnet_id: 4,
                ..owner.clone()
            }
        ));
        let tagged = Node {
            tags: vec!["tag:a".to_owned()],
            ..node()
        };
        assert!(!replaces(&tagged, &[1; 32], &owner));
        assert!(replaces(
            &tagged,
            &[1; 32],
            &Owner {
                user_id: 0,
                tags: vec!["tag:b".to_owned()],
                ..owner
            }
        ));
    }

    #[test]
    fn tagged_keys_do_not_end_by_themselves() {
        let owner = Owner {
            tailnet_id: 3,
            user_id: 7,
            tags: Vec::new(),
        };
        let tagged = Owner {
            tags: vec!["tag:a".to_owned()],
            ..owner.clone()
        };
        let lifetime = Some(TimeDelta::days(180));
        let days = |days| Some(timestamp(now() + TimeDelta::days(days)));
        assert_eq!(expiry(&tagged, lifetime, None, now()), None);
        assert_eq!(expiry(&owner, lifetime, None, now()), days(180));
        assert_eq!(
            expiry(&owner, lifetime, Some(now() + TimeDelta::days(2)), now()),
            days(2)
        );
        assert_eq!(expiry(&owner, None, None, now()), None);
    }
}
