//! The life of a node key: bound, renewed, rotated, ended.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};

use super::{from_timestamp, standing, to_timestamp};

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
    let current = node.key_expiry.and_then(from_timestamp);
    !node.expired && current.is_none_or(|current| end < current)
}

/// Says whether a node's key has ended.
pub fn has_ended(node: &Node, now: DateTime<Utc>) -> bool {
    node.expired
        || node
            .key_expiry
            .and_then(from_timestamp)
            .is_some_and(|end| end <= now)
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

/// Who registers: decides which node of its machine it is.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Whose key it is to be.
    pub owner: Owner,
    /// Whether it is to be ephemeral.
    pub ephemeral: bool,
}

impl Newcomer {
    /// Says whether a node of the same machine is the newcomer's: same owner, and ephemeral like it.
    ///
    /// Any tags count as one owner. A user's node may get tags, and a tagged one may become its user's, but only one
    /// that may change itself but for its key: not one that is cut off with its user, nor one that waits for approval.
    pub fn is(&self, node: &Node, is_user_barred: bool) -> bool {
        let owner = &self.owner;
        let is_users = owner.user_id != 0 && node.user_id == owner.user_id;
        let is_same = match (node.tags.is_empty(), owner.tags.is_empty()) {
            (false, false) => true,
            _ => is_users,
        };
        node.tailnet_id == owner.tailnet_id
            && node.ephemeral == self.ephemeral
            && is_same
            && (node.approved || node.user_id == owner.user_id && node.tags == owner.tags)
            && !standing::is_cut_off(node, is_user_barred)
    }
}

/// Judges a request for a new key of a client that names the key of `old` as its last: it is replaced for the same
/// machine, tailnet and owner. A proof of both keys is asked for only while the old one has not ended.
pub fn rotation(
    old: &Node,
    proof: Proof<'_>,
    newcomer: &Newcomer,
    is_user_barred: bool,
    now: DateTime<Utc>,
) -> Rotation {
    if old.machine_key != proof.machine_key {
        return Rotation::Refused(RotationRefusal::AnotherMachines);
    }
    if !newcomer.is(old, is_user_barred) {
        return Rotation::NewNode;
    }
    let is_proven = proof.has(&old.node_key) && proof.has(proof.node_key);
    if proof.is_required && !is_proven && !has_ended(old, now) {
        return Rotation::Refused(RotationRefusal::Unproven);
    }
    Rotation::Replaces
}

/// A node that a newcomer's machine holds already.
#[derive(Clone, Debug)]
pub struct MachineNode {
    /// The node.
    pub node: Node,
    /// Whether it has a live session.
    pub is_live: bool,
    /// Whether its user is suspended or gone.
    pub is_user_barred: bool,
}

/// Returns the node that a newcomer is again, of those its machine holds, the last seen first: one whose key has ended.
/// One with a live session is never taken over: somebody else is using it.
pub fn returning<'n>(
    nodes: &'n [MachineNode],
    newcomer: &Newcomer,
    now: DateTime<Utc>,
) -> Option<&'n Node> {
    let is_free = |held: &&MachineNode| {
        !held.is_live && has_ended(&held.node, now) && newcomer.is(&held.node, held.is_user_barred)
    };
    nodes.iter().find(is_free).map(|held| &held.node)
}

/// Returns the node that another machine uses with the same machine key while a newcomer makes a new one, if one does.
pub fn shared<'n>(nodes: &'n [MachineNode], newcomer: &Newcomer, named: &[u8]) -> Option<&'n Node> {
    let is_used = |held: &&MachineNode| {
        held.is_live && held.node.node_key != named && newcomer.is(&held.node, false)
    };
    nodes.iter().find(is_used).map(|held| &held.node)
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
    by_tailnet.into_iter().chain(wished).min().map(to_timestamp)
}

#[cfg(test)]
mod tests {
    use bowline_proto::key_registry::v1::TaggedBy;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn node() -> Node {
        Node {
            machine_key: vec![1; 32],
            user_id: 7,
            tailnet_id: 3,
            approved: true,
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
            key_expiry: Some(to_timestamp(end)),
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

    fn newcomer() -> Newcomer {
        Newcomer {
            owner: Owner {
                tailnet_id: 3,
                user_id: 7,
                tags: Vec::new(),
            },
            ephemeral: false,
        }
    }

    fn of(change: impl Fn(&mut Newcomer)) -> Newcomer {
        let mut newcomer = newcomer();
        change(&mut newcomer);
        newcomer
    }

    fn tagged(tag: &str) -> Node {
        Node {
            tags: vec![tag.to_owned()],
            tagged_by: TaggedBy::PreAuthKey.into(),
            ..node()
        }
    }

    fn judged(old: &Node, machine: u8, newcomer: &Newcomer) -> Rotation {
        let proof = Proof {
            machine_key: &[machine; 32],
            node_key: &NEW,
            held: &[],
            is_required: false,
        };
        rotation(old, proof, newcomer, false, now())
    }

    #[test]
    fn key_is_replaced_for_the_same_machine_tailnet_and_owner() {
        assert_eq!(judged(&node(), 1, &newcomer()), Rotation::Replaces);
        let other_user = of(|newcomer| newcomer.owner.user_id = 8);
        assert_eq!(judged(&node(), 1, &other_user), Rotation::NewNode);
        let other_tailnet = of(|newcomer| newcomer.owner.tailnet_id = 4);
        assert_eq!(judged(&node(), 1, &other_tailnet), Rotation::NewNode);
        let ephemeral = of(|newcomer| newcomer.ephemeral = true);
        assert_eq!(judged(&node(), 1, &ephemeral), Rotation::NewNode);
        let by_tag = of(|newcomer| {
            newcomer.owner.user_id = 0;
            newcomer.owner.tags = vec!["tag:b".to_owned()];
        });
        assert_eq!(judged(&tagged("tag:a"), 1, &by_tag), Rotation::Replaces);
        assert_eq!(judged(&node(), 1, &by_tag), Rotation::NewNode);
        // A tagged node becomes its user's by a login without tags, and nobody else's.
        assert_eq!(judged(&tagged("tag:a"), 1, &newcomer()), Rotation::Replaces);
        assert_eq!(judged(&tagged("tag:a"), 1, &other_user), Rotation::NewNode);
    }

    #[test]
    fn node_that_may_not_change_is_replaced_only_in_its_key() {
        let by_tag = of(|newcomer| newcomer.owner.tags = vec!["tag:b".to_owned()]);
        let waiting = Node {
            approved: false,
            ..node()
        };
        assert_eq!(judged(&waiting, 1, &newcomer()), Rotation::Replaces);
        assert_eq!(judged(&waiting, 1, &by_tag), Rotation::NewNode);
        let by_user = Node {
            tagged_by: TaggedBy::User.into(),
            ..tagged("tag:a")
        };
        assert!(by_tag.is(&by_user, false) && !by_tag.is(&by_user, true));
        assert!(
            by_tag.is(&tagged("tag:a"), true),
            "it does not go with the user"
        );
    }

    #[test]
    fn ended_node_comes_back_and_one_in_use_is_told_of() {
        let held = |id, expired, is_live| MachineNode {
            node: Node {
                id,
                expired,
                node_key: vec![u8::try_from(id).unwrap(); 32],
                ..node()
            },
            is_live,
            is_user_barred: false,
        };
        let nodes = [
            held(1, false, true),
            held(2, true, true),
            held(3, false, false),
            held(4, true, false),
            held(5, true, false),
        ];
        let back = returning(&nodes, &newcomer(), now()).map(|node| node.id);
        assert_eq!(back, Some(4));
        assert_eq!(
            shared(&nodes, &newcomer(), &[]).map(|node| node.id),
            Some(1)
        );
        let other = of(|newcomer| newcomer.owner.user_id = 8);
        assert!(returning(&nodes, &other, now()).is_none());
        assert!(
            shared(&nodes, &other, &[]).is_none(),
            "a profile of its own"
        );
        assert!(
            shared(&nodes[..1], &newcomer(), &[1; 32]).is_none(),
            "named as old"
        );
    }

    #[test]
    fn key_of_another_machine_is_not_replaced() {
        let refused = Rotation::Refused(RotationRefusal::AnotherMachines);
        assert_eq!(judged(&node(), 2, &newcomer()), refused);
    }

    #[test]
    fn key_is_not_replaced_unproven_where_the_tailnet_asks_for_proof() {
        let old = Node {
            node_key: vec![8; 32],
            ..node()
        };
        let judged = |old: &Node, held: &[Vec<u8>]| {
            let proof = Proof {
                machine_key: &[1; 32],
                node_key: &NEW,
                held,
                is_required: true,
            };
            rotation(old, proof, &newcomer(), false, now())
        };
        let unproven = Rotation::Refused(RotationRefusal::Unproven);
        let (own, new) = (old.node_key.clone(), NEW.to_vec());
        assert_eq!(judged(&old, &[]), unproven);
        assert_eq!(judged(&old, std::slice::from_ref(&own)), unproven);
        assert_eq!(judged(&old, std::slice::from_ref(&new)), unproven);
        assert_eq!(judged(&old, &[new, own]), Rotation::Replaces);
        let ended = Node {
            expired: true,
            ..old
        };
        assert_eq!(
            judged(&ended, &[]),
            Rotation::Replaces,
            "nothing is left to prove"
        );
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
        let days = |days| Some(to_timestamp(now() + TimeDelta::days(days)));
        assert_eq!(expiry(&tagged, lifetime, None, now()), None);
        assert_eq!(expiry(&owner, lifetime, None, now()), days(180));
        assert_eq!(
            expiry(&owner, lifetime, Some(now() + TimeDelta::days(2)), now()),
            days(2)
        );
        assert_eq!(expiry(&owner, None, None, now()), None);
    }
}
