//! Which node of its machine a registrant is: one whose key it replaces, one that comes back, or a new one.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use super::{key::has_ended, standing};

/// Who a key is registered for: decides whether an old node carries over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    /// The tailnet.
    pub tailnet_id: u64,
    /// The user, zero for none.
    pub user_id: u64,
    /// The tags; with tags the node belongs to no user.
    pub tags: Vec<String>,
}

/// What a request for a new key proves.
#[derive(Clone, Copy, Debug)]
pub struct KeyProof<'r> {
    /// The machine key, proven by the transport.
    pub machine_key: &'r [u8],
    /// The new node key.
    pub node_key: &'r [u8],
    /// The node keys that the client proved to hold.
    pub proven_keys: &'r [Vec<u8>],
    /// Whether the tailnet asks for the proof of both.
    pub is_required: bool,
}

impl KeyProof<'_> {
    fn proves_key(&self, node_key: &[u8]) -> bool {
        self.proven_keys.iter().any(|key| key == node_key)
    }
}

/// What the old key that a client names means for its new one (protocol section 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationVerdict {
    /// The new key replaces the old one: the same node.
    Replaces,
    /// The old key stays with its node; the new key makes a new node.
    NewNode,
    /// The request is refused.
    Refused(RotationRefusal),
}

/// Why a request is refused that names an old key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationRefusal {
    /// The old key belongs to another machine.
    AnotherMachines,
    /// The tailnet asks for a proof that the client holds both keys, and it gave none.
    Unproven,
}

/// Who registers: decides which node of its machine it is.
#[derive(Clone, Debug)]
pub struct Registrant {
    /// Whose key it is to be.
    pub owner: KeyOwner,
    /// Whether it is to be ephemeral.
    pub ephemeral: bool,
}

impl Registrant {
    /// Says whether a node of the same machine is the registrant's: same owner, and ephemeral like it.
    ///
    /// Any tags count as one owner. A user's node may get tags, and a tagged one may become its user's, but only one
    /// that may change itself but for its key: not one that is cut off with its user, waits for approval or is disabled.
    pub fn matches_node(&self, node: &Node, is_user_barred: bool) -> bool {
        let owner = &self.owner;
        let is_users = owner.user_id != 0 && node.user_id == owner.user_id;
        let is_same = match (node.tags.is_empty(), owner.tags.is_empty()) {
            (false, false) => true,
            _ => is_users,
        };
        node.tailnet_id == owner.tailnet_id
            && node.ephemeral == self.ephemeral
            && is_same
            && (node.is_authorized() || node.user_id == owner.user_id && node.tags == owner.tags)
            && !standing::is_cut_off(node, is_user_barred)
    }
}

/// Judges a request for a new key of a client that names the key of `old` as its last: it is replaced for the same
/// machine, tailnet and owner. A proof of both keys is asked for only while the old one has not ended.
pub fn judge_rotation(
    old: &Node,
    proof: KeyProof<'_>,
    registrant: &Registrant,
    is_user_barred: bool,
    now: DateTime<Utc>,
) -> RotationVerdict {
    if old.machine_key != proof.machine_key {
        return RotationVerdict::Refused(RotationRefusal::AnotherMachines);
    }
    if !registrant.matches_node(old, is_user_barred) {
        return RotationVerdict::NewNode;
    }
    let is_proven = proof.proves_key(&old.node_key) && proof.proves_key(proof.node_key);
    if proof.is_required && !is_proven && !has_ended(old, now) {
        return RotationVerdict::Refused(RotationRefusal::Unproven);
    }
    RotationVerdict::Replaces
}

/// A node that a registrant's machine holds already.
#[derive(Clone, Debug)]
pub struct MachineNode {
    /// The node.
    pub node: Node,
    /// Whether it has a live session.
    pub is_live: bool,
    /// Whether its user is suspended or gone.
    pub is_user_barred: bool,
}

/// Returns the machine's node that a registrant gets back: the one that had the key it names as its last, or one of the
/// same owner whose key has ended; of several, the last seen. A node with a live session is never taken over: somebody
/// else is using it.
///
/// A client that names a key from before has lost the one that came after: it ended before it stored it, or its disk was
/// restored.
pub fn find_returning_node<'n>(
    nodes: &'n [MachineNode],
    registrant: &Registrant,
    former_holder: Option<u64>,
    now: DateTime<Utc>,
) -> Option<&'n Node> {
    let had_named_key = |candidate: &MachineNode| former_holder == Some(candidate.node.id);
    let is_free = |candidate: &&MachineNode| {
        !candidate.is_live
            && (had_named_key(candidate) || has_ended(&candidate.node, now))
            && registrant.matches_node(&candidate.node, candidate.is_user_barred)
    };
    // Of those that are equal it is the first.
    let free = nodes.iter().filter(is_free);
    let found = free.min_by_key(|candidate| !had_named_key(candidate));
    found.map(|candidate| &candidate.node)
}

/// Returns the node that another machine uses with the same machine key while a registrant makes a new one, if one does.
pub fn find_live_duplicate<'n>(
    nodes: &'n [MachineNode],
    registrant: &Registrant,
    named: &[u8],
) -> Option<&'n Node> {
    let is_used = |candidate: &&MachineNode| {
        candidate.is_live
            && candidate.node.node_key != named
            && registrant.matches_node(&candidate.node, false)
    };
    nodes.iter().find(is_used).map(|candidate| &candidate.node)
}

#[cfg(test)]
mod tests;
