//! Whom a client is when it registers: the node that it has, the one that it had, or a new one.

use std::collections::BTreeSet;

use bowline_proto::key_registry::v1::RefusalReason;
use chrono::TimeDelta;

use super::{KeyModel, ModelLogin, ModelNode, ModelOwner};
use crate::call::{
    KeyNumber, KeyVerdict, Machine, NodeKeyNumber, PresentedCredential, RegisterCall,
};

/// Whom a good credential stands for.
struct ModelRegistrant {
    owner: ModelOwner,
    ephemeral: bool,
    approved: bool,
    key: Option<KeyNumber>,
}

const FOREIGN: KeyVerdict = KeyVerdict::Refused(RefusalReason::NodeKeyOfAnotherMachine);

impl KeyModel {
    pub(super) fn register(&mut self, call: &RegisterCall) -> KeyVerdict {
        let key = call.node_key;
        if let Some(place) = self.nodes.iter().position(|node| node.key == key) {
            return self.answer_bound(place, call);
        }
        if let Some(machine) = self.bound.get(&key) {
            // A retired key is nobody's again.
            return match *machine == call.machine {
                false => FOREIGN,
                true if call.is_logout => KeyVerdict::NothingToEnd,
                true => KeyVerdict::KeyExpired { has_node: false },
            };
        }
        let named = call.old_key.and_then(|old| self.bound.get(&old));
        if named.is_some_and(|machine| *machine != call.machine) {
            return FOREIGN;
        }
        if call.is_logout {
            return KeyVerdict::LoggedOut;
        }
        let registrant = match self.check_credential(call) {
            Ok(registrant) => registrant,
            Err(verdict) => return verdict,
        };
        let of_machine = |node: &&ModelNode| node.machine == call.machine;
        if self.nodes.iter().filter(of_machine).any(|node| node.denied) {
            return KeyVerdict::Refused(RefusalReason::MachineDenied);
        }
        if let Some(used) = registrant.key.and_then(|number| self.keys.get_mut(&number)) {
            used.uses += 1;
        }
        match self.find_own_node(call, &registrant) {
            Some(place) => self.rebind(place, call, &registrant),
            None => self.make_node(call, &registrant),
        }
        self.bound.insert(key, call.machine);
        self.bound_now.insert(key);
        KeyVerdict::Registered(key)
    }

    /// Answers for a key that a node has: no credential is looked at.
    fn answer_bound(&mut self, place: usize, call: &RegisterCall) -> KeyVerdict {
        let (now, node) = (self.now, &mut self.nodes[place]);
        if node.machine != call.machine {
            return FOREIGN;
        }
        if !call.is_logout {
            return match node.has_ended(now) {
                true => KeyVerdict::KeyExpired { has_node: true },
                false => KeyVerdict::Registered(node.key),
            };
        }
        // Without the node, a machine that is kept out would be let in as a new one.
        if node.ephemeral && !node.is_kept_out() {
            self.nodes.remove(place);
        } else {
            node.end_key(now);
            node.session_over |= node.online;
        }
        KeyVerdict::LoggedOut
    }

    fn check_credential(&mut self, call: &RegisterCall) -> Result<ModelRegistrant, KeyVerdict> {
        let refused = |reason| Err(KeyVerdict::Refused(reason));
        let registrant = match &call.credential {
            PresentedCredential::PreAuthKey(number) => {
                let Some(key) = self.keys.get(number) else {
                    return refused(RefusalReason::PreAuthKeyInvalid);
                };
                if key.revoked {
                    return refused(RefusalReason::PreAuthKeyRevoked);
                }
                if key.ends_at <= self.now {
                    return refused(RefusalReason::PreAuthKeyExpired);
                }
                if !key.made.reusable && key.uses > 0 {
                    return refused(RefusalReason::PreAuthKeyUsed);
                }
                ModelRegistrant {
                    owner: ModelOwner {
                        user: key.made.user,
                        tag: key.made.tag,
                    },
                    ephemeral: key.made.ephemeral || call.ephemeral,
                    approved: key.made.pre_approved,
                    key: Some(*number),
                }
            }
            PresentedCredential::None => return Err(self.start_login(call.machine, call.node_key)),
            PresentedCredential::Login(id) => {
                let is_meant = |login: &&ModelLogin| {
                    login.id.as_ref() == Some(id)
                        && (login.machine, login.node_key) == (call.machine, call.node_key)
                };
                let login = self.logins.iter().find(is_meant);
                let Some(user) = login.and_then(|login| login.approved_for) else {
                    return Err(self.start_login(call.machine, call.node_key));
                };
                ModelRegistrant {
                    owner: ModelOwner {
                        user: Some(user),
                        tag: None,
                    },
                    ephemeral: call.ephemeral,
                    approved: false,
                    key: None,
                }
            }
        };
        if registrant
            .owner
            .user
            .is_some_and(|user| self.is_suspended(user))
        {
            return refused(RefusalReason::UserSuspended);
        }
        Ok(registrant)
    }

    /// Lets a login wait, the one that does already if there is one.
    fn start_login(&mut self, machine: Machine, node_key: NodeKeyNumber) -> KeyVerdict {
        let waits = |login: &ModelLogin| {
            (login.machine, login.node_key) == (machine, node_key) && login.approved_for.is_none()
        };
        if !self.logins.iter().any(waits) {
            self.logins.push(ModelLogin {
                machine,
                node_key,
                id: None,
                approved_for: None,
            });
        }
        KeyVerdict::LoginNeeded(machine, node_key)
    }

    /// Finds which of its machine's nodes a registrant is: the one whose key it names, or the last seen of those whose key
    /// has ended and that nobody uses.
    fn find_own_node(&self, call: &RegisterCall, registrant: &ModelRegistrant) -> Option<usize> {
        let is_own =
            |node: &ModelNode| node.machine == call.machine && is_registrants(node, registrant);
        let named = |node: &ModelNode| Some(node.key) == call.old_key && is_own(node);
        if let Some(place) = self.nodes.iter().position(named) {
            return Some(place);
        }
        let is_free = |node: &ModelNode| node.has_ended(self.now) && !node.is_live();
        let places = self.nodes.iter().enumerate();
        let free = places.filter(|(_, node)| is_own(node) && is_free(node));
        // A node whose id is not known yet was made a moment ago.
        let newest = free.max_by_key(|(_, node)| (node.last_seen, node.id.unwrap_or(u64::MAX)));
        newest.map(|(place, _)| place)
    }

    fn compute_end(&self, owner: ModelOwner, never: bool) -> Option<chrono::DateTime<chrono::Utc>> {
        let lifetime = self
            .rules
            .key_lifetime
            .filter(|_| !never && owner.tag.is_none());
        lifetime.map(|seconds| self.now + TimeDelta::seconds(seconds))
    }

    fn rebind(&mut self, place: usize, call: &RegisterCall, registrant: &ModelRegistrant) {
        let never = self.nodes[place].never_expires;
        let expiry = self.compute_end(registrant.owner, never);
        let node = &mut self.nodes[place];
        node.key = call.node_key;
        (node.expiry, node.expired, node.signed) = (expiry, false, false);
        node.approved |= registrant.approved;
        node.let_in_by.extend(registrant.key);
        // A node that is kept out changes nothing but its key.
        if node.is_authorized() {
            node.owner = registrant.owner;
        }
    }

    fn make_node(&mut self, call: &RegisterCall, registrant: &ModelRegistrant) {
        let is_disabled = |node: &ModelNode| node.machine == call.machine && node.disabled;
        let node = ModelNode {
            id: None,
            machine: call.machine,
            key: call.node_key,
            owner: registrant.owner,
            ephemeral: registrant.ephemeral,
            approved: registrant.approved || !self.rules.machine_approval,
            denied: false,
            // Another login is no way around that.
            disabled: self.nodes.iter().any(is_disabled),
            expired: false,
            expiry: self.compute_end(registrant.owner, false),
            never_expires: false,
            online: false,
            session_over: false,
            last_seen: None,
            let_in_by: BTreeSet::from_iter(registrant.key),
            signed: false,
            chosen_name: None,
            attribute: None,
        };
        self.nodes.push(node);
    }
}

/// Says whether a node is the registrant's: of the same owner, and ephemeral like it. Any tags count as one owner. One that
/// is not let in keeps its owner exactly.
fn is_registrants(node: &ModelNode, registrant: &ModelRegistrant) -> bool {
    let (has, wants) = (node.owner, registrant.owner);
    let is_same_owner = match (has.tag, wants.tag) {
        (Some(_), Some(_)) => true,
        _ => wants.user.is_some() && has.user == wants.user,
    };
    node.ephemeral == registrant.ephemeral
        && is_same_owner
        && (node.is_authorized() || has == wants)
}
