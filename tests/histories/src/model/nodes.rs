//! What becomes of nodes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use tonic::Code;

use super::{KeyModel, SIGNING_USER};
use crate::{
    call::{KeyNumber, KeyVerdict, Machine, NodeCall, NodeKeyNumber, UserNumber},
    lock::{SIGNING_KEY, SIGNING_MACHINE},
};

/// Whose a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelOwner {
    /// The user; of a tagged node whoever it was before.
    pub user: Option<UserNumber>,
    /// The tag.
    pub tag: Option<u8>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNode {
    /// Its id, once that is heard.
    pub id: Option<u64>,
    /// The machine that has it.
    pub machine: Machine,
    /// Its key.
    pub key: NodeKeyNumber,
    /// Whose it is.
    pub owner: ModelOwner,
    /// Whether it goes when its client logs out.
    pub ephemeral: bool,
    /// Whether its machine needs no approval any more.
    pub approved: bool,
    /// Whether an administrator has turned its machine away.
    pub denied: bool,
    /// Whether an administrator keeps it out.
    pub disabled: bool,
    /// Whether it is marked that its key has ended.
    pub expired: bool,
    /// When its key ends, or ended.
    pub expiry: Option<DateTime<Utc>>,
    /// Whether its keys never end.
    pub never_expires: bool,
    /// Whether it counts as online.
    pub online: bool,
    /// Whether its session is known to have ended.
    pub session_over: bool,
    /// When a session of it began or ended last.
    pub last_seen: Option<DateTime<Utc>>,
    /// The pre-auth keys that ever let it in.
    pub let_in_by: BTreeSet<KeyNumber>,
    /// Whether its key is signed.
    pub signed: bool,
    /// The name that an administrator gave it.
    pub chosen_name: Option<u8>,
    /// The value of its attribute.
    pub attribute: Option<u8>,
}

impl ModelNode {
    /// Says whether administrators let it in.
    #[must_use]
    pub fn is_authorized(&self) -> bool {
        self.approved && !self.disabled
    }

    /// Says whether its machine is kept out.
    #[must_use]
    pub fn is_kept_out(&self) -> bool {
        self.disabled || self.denied
    }

    /// Says whether its key has ended.
    #[must_use]
    pub fn has_ended(&self, now: DateTime<Utc>) -> bool {
        self.expired || self.is_due(now)
    }

    /// Says whether its key has ended by time.
    #[must_use]
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.expiry.is_some_and(|end| end <= now)
    }

    /// Says whether a client uses it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.online && !self.session_over
    }

    /// Ends its key.
    pub fn end_key(&mut self, now: DateTime<Utc>) {
        if !self.has_ended(now) {
            self.expiry = Some(now);
        }
        self.expired = true;
    }
}

impl KeyModel {
    pub(super) fn change_node(&mut self, id: u64, change: NodeCall) -> KeyVerdict {
        let now = self.now;
        let found = self.nodes.iter().position(|node| node.id == Some(id));
        let Some(place) = found else {
            return match change {
                NodeCall::Connect(_) | NodeCall::Disconnect(_) => KeyVerdict::Ignored,
                _ => KeyVerdict::Failed(Code::NotFound),
            };
        };
        let is_taken = match change {
            NodeCall::Rename(name) => self
                .nodes
                .iter()
                .any(|node| node.id != Some(id) && node.chosen_name == Some(name)),
            _ => false,
        };
        let node = &mut self.nodes[place];
        match change {
            NodeCall::Delete => {
                self.nodes.remove(place);
            }
            NodeCall::Expire => node.end_key(now),
            NodeCall::Approve => (node.approved, node.denied) = (true, false),
            NodeCall::Deny => {
                if node.approved {
                    return KeyVerdict::Failed(Code::FailedPrecondition);
                }
                node.denied = true;
                node.end_key(now);
            }
            NodeCall::Disable => node.disabled = true,
            NodeCall::Enable => node.disabled = false,
            NodeCall::NeverExpire | NodeCall::ExpireAfter(_) => return set_end(node, change, now),
            NodeCall::SetTag(tag) => {
                node.owner.tag = Some(tag);
                // Keys of tagged nodes do not end by time; one that has ended stays so.
                if !node.has_ended(now) {
                    node.expiry = None;
                }
            }
            NodeCall::Rename(_) if is_taken => return KeyVerdict::Failed(Code::AlreadyExists),
            NodeCall::Rename(name) => node.chosen_name = Some(name),
            NodeCall::SetAttribute(value) => node.attribute = value,
            NodeCall::Connect(key) | NodeCall::Disconnect(key) if key != node.key => {
                return KeyVerdict::Ignored;
            }
            NodeCall::Connect(_) => {
                (node.online, node.session_over, node.last_seen) = (true, false, Some(now));
            }
            NodeCall::Disconnect(_) => {
                if node.online {
                    (node.session_over, node.last_seen) = (true, Some(now));
                }
            }
        }
        KeyVerdict::Done
    }

    /// Only the key that a node has now can be signed, whether it has ended or not.
    pub(super) fn sign_key(&mut self, key: NodeKeyNumber) -> KeyVerdict {
        match self.nodes.iter_mut().find(|node| node.key == key) {
            Some(node) => {
                node.signed = true;
                KeyVerdict::Done
            }
            None => KeyVerdict::Failed(Code::FailedPrecondition),
        }
    }

    /// Adds the device that signs, which a tailnet with a lock begins with.
    pub(crate) fn add_signer(&mut self, id: u64) {
        self.bound.insert(SIGNING_KEY, SIGNING_MACHINE);
        self.nodes.push(ModelNode {
            id: Some(id),
            machine: SIGNING_MACHINE,
            key: SIGNING_KEY,
            owner: ModelOwner {
                user: Some(SIGNING_USER),
                tag: None,
            },
            ephemeral: false,
            approved: true,
            denied: false,
            disabled: false,
            expired: false,
            expiry: None,
            never_expires: true,
            online: false,
            session_over: false,
            last_seen: None,
            let_in_by: BTreeSet::new(),
            signed: true,
            chosen_name: None,
            attribute: None,
        });
    }

    pub(super) fn end_nodes_of_key(&mut self, number: KeyNumber) -> KeyVerdict {
        let now = self.now;
        match self.keys.get(&number) {
            None => return KeyVerdict::Failed(Code::NotFound),
            Some(key) if !key.revoked => return KeyVerdict::Failed(Code::FailedPrecondition),
            Some(_) => {}
        }
        let (mut nodes, mut maybe) = (BTreeSet::new(), BTreeSet::new());
        for node in &mut self.nodes {
            if !node.let_in_by.contains(&number) || node.expired {
                continue;
            }
            let ended = if node.is_due(now) {
                &mut maybe
            } else {
                &mut nodes
            };
            ended.extend(node.id);
            node.end_key(now);
        }
        KeyVerdict::Ended { nodes, maybe }
    }
}

fn set_end(node: &mut ModelNode, change: NodeCall, now: DateTime<Utc>) -> KeyVerdict {
    let refused = KeyVerdict::Failed(Code::FailedPrecondition);
    match change {
        _ if node.has_ended(now) => return refused,
        NodeCall::ExpireAfter(_) if node.owner.tag.is_some() => return refused,
        NodeCall::ExpireAfter(seconds) => {
            node.expiry = Some(now + TimeDelta::seconds(seconds));
            node.never_expires = false;
        }
        _ => (node.expiry, node.never_expires) = (None, true),
    }
    KeyVerdict::Done
}
