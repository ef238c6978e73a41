//! The reference model: what keys, machines and nodes of one tailnet are and may do, as simply as it can be said.
//!
//! It knows no database, no service and no clock; [`KeyModel::answer`] takes one call after the other and says what the answer
//! has to be: what is promised by "Rules that hold" in [`services/README.md`](../../../services/README.md) and by protocol section 5.3,
//! in other words than the code that keeps it.

mod nodes;
mod orders;
mod registration;

use std::collections::{BTreeMap, BTreeSet};

use bowline_proto::key_registry::v1::RefusalReason;
use chrono::{DateTime, TimeDelta, Utc};
use tonic::Code;

use crate::call::{
    KeyAnswer, KeyCall, KeyNumber, KeyVerdict, Machine, NewKey, NodeKeyNumber, UserNumber,
};
pub use nodes::{ModelNode, ModelOwner};
pub use orders::explain_answers;

/// How many users a history has that something happens to.
pub const USERS: UserNumber = 2;
/// The administrator whose device signs for tailnet lock, besides.
pub const SIGNING_USER: UserNumber = USERS;

/// What of a tailnet does not change in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailnetRules {
    /// How long a node key lives, in seconds.
    pub key_lifetime: Option<i64>,
    /// Whether machines wait for approval.
    pub machine_approval: bool,
    /// Whether tailnet lock is on: node keys have to be signed.
    pub locked: bool,
}

/// The tailnet of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyModel {
    /// What time it is.
    pub now: DateTime<Utc>,
    rules: TailnetRules,
    nodes: Vec<ModelNode>,
    /// Every key that a node ever had, and whose machine's: none of them is bound again.
    bound: BTreeMap<NodeKeyNumber, Machine>,
    /// Those of them that were bound by calls which are under way.
    bound_now: BTreeSet<NodeKeyNumber>,
    keys: BTreeMap<KeyNumber, ModelKey>,
    logins: Vec<ModelLogin>,
    suspended: [bool; SIGNING_USER as usize + 1],
}

/// A pre-auth key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelKey {
    /// What it was made like.
    pub made: NewKey,
    ends_at: DateTime<Utc>,
    /// Whether it is revoked.
    pub revoked: bool,
    /// How often it let a client in.
    pub uses: u64,
}

/// A login in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelLogin {
    machine: Machine,
    node_key: NodeKeyNumber,
    /// What the service calls it, once that is heard.
    id: Option<String>,
    approved_for: Option<UserNumber>,
}

impl KeyModel {
    /// Returns a tailnet without nodes and keys.
    #[must_use]
    pub fn new(now: DateTime<Utc>, rules: TailnetRules) -> Self {
        Self {
            now,
            rules,
            nodes: Vec::new(),
            bound: BTreeMap::new(),
            bound_now: BTreeSet::new(),
            keys: BTreeMap::new(),
            logins: Vec::new(),
            suspended: [false; SIGNING_USER as usize + 1],
        }
    }

    /// Returns the nodes.
    #[must_use]
    pub fn nodes(&self) -> &[ModelNode] {
        &self.nodes
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [ModelNode] {
        &mut self.nodes
    }

    /// Returns the pre-auth keys.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<KeyNumber, ModelKey> {
        &self.keys
    }

    /// Returns every key that a node ever had, and whose machine's it is.
    #[must_use]
    pub fn bound_keys(&self) -> &BTreeMap<NodeKeyNumber, Machine> {
        &self.bound
    }

    /// Returns the logins that wait, as far as their ids are known, with machine and key.
    pub fn known_logins(&self) -> impl Iterator<Item = (&str, Machine, NodeKeyNumber)> {
        let known = |login: &ModelLogin| login.id.is_some();
        let logins = self.logins.iter().filter(move |login| known(login));
        logins.map(|login| {
            let id = login.id.as_deref().unwrap_or_default();
            (id, login.machine, login.node_key)
        })
    }

    /// Returns how many logins of a machine wait.
    #[must_use]
    pub fn count_pending(&self, machine: Machine) -> usize {
        let waits = |login: &&ModelLogin| login.machine == machine && login.approved_for.is_none();
        self.logins.iter().filter(waits).count()
    }

    /// Says whether a user is suspended.
    #[must_use]
    pub fn is_suspended(&self, user: UserNumber) -> bool {
        self.suspended[usize::from(user)]
    }

    /// Says whether a node may take part: whether peers are offered its key.
    #[must_use]
    pub fn may_take_part(&self, node: &ModelNode) -> bool {
        let owner = node.owner;
        // Tags were given by keys and administrators: such a node does not go with its user.
        let is_cut_off =
            owner.tag.is_none() && owner.user.is_some_and(|user| self.is_suspended(user));
        node.is_authorized() && !node.expired && !self.awaits_signature(node) && !is_cut_off
    }

    /// Says whether tailnet lock is on.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.rules.locked
    }

    /// Says whether a node waits for a signature.
    #[must_use]
    pub fn awaits_signature(&self, node: &ModelNode) -> bool {
        self.rules.locked && !node.signed
    }

    /// Notes that all calls so far are answered.
    pub fn end_calls(&mut self) {
        self.bound_now.clear();
    }

    /// Does a call, and returns the answer that it has.
    pub fn answer(&mut self, call: &KeyCall) -> KeyVerdict {
        match call {
            KeyCall::Register(register) => self.register(register),
            KeyCall::MakeKey(number, made) => {
                let key = ModelKey {
                    made: *made,
                    ends_at: self.now + TimeDelta::seconds(made.lifetime),
                    revoked: false,
                    uses: 0,
                };
                self.keys.insert(*number, key);
                KeyVerdict::Done
            }
            KeyCall::RevokeKey(number) => match self.keys.get_mut(number) {
                Some(key) => {
                    key.revoked = true;
                    KeyVerdict::Done
                }
                None => KeyVerdict::Failed(Code::NotFound),
            },
            KeyCall::EndNodesOfKey(number) => self.end_nodes_of_key(*number),
            KeyCall::ApproveLogin { login, user } => self.approve_login(login, *user),
            KeyCall::SetSuspended { user, suspended } => {
                self.suspended[usize::from(*user)] = *suspended;
                KeyVerdict::Done
            }
            KeyCall::Sign(key) => self.sign_key(*key),
            KeyCall::OnNode(id, change) => self.change_node(*id, *change),
        }
    }

    fn approve_login(&mut self, id: &str, user: UserNumber) -> KeyVerdict {
        let refused = KeyVerdict::Failed(Code::FailedPrecondition);
        let named = |login: &&mut ModelLogin| login.id.as_deref() == Some(id);
        let is_suspended = self.is_suspended(user);
        let Some(login) = self.logins.iter_mut().find(named) else {
            return KeyVerdict::Failed(Code::NotFound);
        };
        if is_suspended || login.approved_for.is_some_and(|other| other != user) {
            return refused;
        }
        login.approved_for = Some(user);
        KeyVerdict::Done
    }

    /// Says whether an answer is the one that the verdict says; learns from it what the service calls things.
    pub fn accept_answer(&mut self, verdict: &KeyVerdict, answer: &KeyAnswer) -> bool {
        match (verdict, answer) {
            // The key is compared by who knows its bytes, and the id when the node is looked at.
            (KeyVerdict::Registered(key), KeyAnswer::Registered { id, .. }) => {
                let node = self.nodes.iter_mut().find(|node| node.key == *key);
                node.is_some_and(|node| *node.id.get_or_insert(*id) == *id)
            }
            // Of two requests for a key, one can be let in just before its user is suspended, while the other hears of that and
            // looks for the key before it is bound.
            (KeyVerdict::Registered(key), KeyAnswer::Refused(RefusalReason::UserSuspended)) => {
                let node = self.nodes.iter().find(|node| node.key == *key);
                let owner = node.and_then(|node| node.owner.user);
                self.bound_now.contains(key) && owner.is_some_and(|user| self.is_suspended(user))
            }
            (KeyVerdict::KeyExpired { has_node }, KeyAnswer::KeyExpired { id }) => {
                *has_node == id.is_some()
            }
            (KeyVerdict::LoginNeeded(machine, key), KeyAnswer::LoginNeeded(id)) => {
                let waits = |login: &&mut ModelLogin| {
                    login.machine == *machine
                        && login.node_key == *key
                        && login.approved_for.is_none()
                };
                let login = self.logins.iter_mut().find(waits);
                login.is_some_and(|login| login.id.get_or_insert_with(|| id.clone()) == id)
            }
            (KeyVerdict::Refused(expected), KeyAnswer::Refused(reason)) => expected == reason,
            (KeyVerdict::Failed(expected), KeyAnswer::Failed(code)) => expected == code,
            (KeyVerdict::Ended { nodes, maybe }, KeyAnswer::Ended(ended)) => {
                nodes.is_subset(ended) && ended.is_subset(&(nodes | maybe))
            }
            (KeyVerdict::NothingToEnd, KeyAnswer::KeyExpired { id }) => id.is_none(),
            (KeyVerdict::LoggedOut | KeyVerdict::NothingToEnd, KeyAnswer::LoggedOut)
            | (KeyVerdict::Done, KeyAnswer::Done)
            | (KeyVerdict::Ignored, KeyAnswer::Ignored) => true,
            _ => false,
        }
    }
}
