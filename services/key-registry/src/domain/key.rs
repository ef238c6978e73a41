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

/// What a request for a new key proves.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'r> {
    /// The machine key, proven by the transport.
    pub machine_key: &'r [u8],
    /// The new node key.
    pub node_key: &'r [u8],
    /// The node keys that the client proved to hold.
    pub held: &'r [Vec<u8>],
    /// Whether the tailnet asks for the proof of both.
    pub is_required: bool,
}

impl Proof<'_> {
    fn has(&self, node_key: &[u8]) -> bool {
        self.held.iter().any(|held| held == node_key)
    }
}

/// What the old key that a client names means for its new one (protocol section 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The new key replaces the old one: the same node.
    Replaces,
    /// The old one stays with whose it is: the new key is a new node's.
    NewNode,
    /// The request is refused.
    Refused(RotationRefusal),
}

/// Why a key is not replaced and nothing else is done either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationRefusal {
    /// The old key belongs to another machine.
    AnotherMachines,
    /// The tailnet asks for a proof that the client holds both keys, and it gave none.
    Unproven,
}

/// Judges a request for a new key of a client that names the key of `old` as its last: it is replaced for the same
/// machine, tailnet and owner.
pub fn rotation(old: &Node, proof: Proof<'_>, owner: &Owner) -> Rotation {
    if old.machine_key != proof.machine_key {
        return Rotation::Refused(RotationRefusal::AnotherMachines);
    }
    let same_owner = if owner.tags.is_empty() {
        old.tags.is_empty() && old.user_id == owner.user_id
    } else {
        !old.tags.is_empty() || old.user_id == owner.user_id
    };
    if old.tailnet_id != owner.tailnet_id || !same_owner {
        return Rotation::NewNode;
    }
    if proof.is_required && !(proof.has(&old.node_key) && proof.has(proof.node_key)) {
        return Rotation::Refused(RotationRefusal::Unproven);
    }
    Rotation::Replaces
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

    const NEW: [u8; 32] = [9; 32];

    fn owner() -> Owner {
        Owner {
            tailnet_id: 3,
            user_id: 7,
            tags: Vec::new(),
        }
    }

    fn judged(old: &Node, machine: u8, owner: &Owner) -> Rotation {
        let proof = Proof {
            machine_key: &[machine; 32],
            node_key: &NEW,
            held: &[],
            is_required: false,
        };
        rotation(old, proof, owner)
    }

    #[test]
    fn key_is_replaced_for_the_same_machine_tailnet_and_owner() {
        assert_eq!(judged(&node(), 1, &owner()), Rotation::Replaces);
        let other_user = Owner {
            user_id: 8,
            ..owner()
        };
        assert_eq!(judged(&node(), 1, &other_user), Rotation::NewNode);
        let other_tailnet = Owner {
            tailnet_id: 4,
            ..owner()
        };
        assert_eq!(judged(&node(), 1, &other_tailnet), Rotation::NewNode);
        let tagged = Node {
            tags: vec!["tag:a".to_owned()],
            ..node()
        };
        assert_eq!(judged(&tagged, 1, &owner()), Rotation::NewNode);
        let by_tag = Owner {
            user_id: 0,
            tags: vec!["tag:b".to_owned()],
            ..owner()
        };
        assert_eq!(judged(&tagged, 1, &by_tag), Rotation::Replaces);
    }

    #[test]
    fn key_of_another_machine_is_not_replaced() {
        let refused = Rotation::Refused(RotationRefusal::AnotherMachines);
        assert_eq!(judged(&node(), 2, &owner()), refused);
    }

    #[test]
    fn key_is_not_replaced_unproven_where_the_tailnet_asks_for_proof() {
        let old = Node {
            node_key: vec![8; 32],
            ..node()
        };
        let judged = |held: &[Vec<u8>]| {
            let proof = Proof {
                machine_key: &[1; 32],
                node_key: &NEW,
                held,
                is_required: true,
            };
            rotation(&old, proof, &owner())
        };
        let unproven = Rotation::Refused(RotationRefusal::Unproven);
        let (own, new) = (old.node_key.clone(), NEW.to_vec());
        assert_eq!(judged(&[]), unproven);
        assert_eq!(judged(std::slice::from_ref(&own)), unproven);
        assert_eq!(judged(std::slice::from_ref(&new)), unproven);
        assert_eq!(judged(&[new, own]), Rotation::Replaces);
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
