//! Which call a step is, for what the model says is there.

use crate::{
    call::{KeyCall, Machine, NodeCall, NodeKeyNumber, PresentedCredential, RegisterCall},
    history::{CredentialPick, HistoryStep, KeyPick, MACHINES, NodeStep},
    model::{KeyModel, ModelNode},
};

/// How many logins of one machine wait at most: identity lets five.
const MOST_PENDING: usize = 4;

/// Gives numbers to what is new in a history.
#[derive(Clone, Debug, Default)]
pub struct NewNumbers {
    node_keys: NodeKeyNumber,
    pre_auth_keys: usize,
}

impl NewNumbers {
    /// Returns the number of the next pre-auth key.
    pub fn next_pre_auth_key(&mut self) -> usize {
        self.pre_auth_keys += 1;
        self.pre_auth_keys - 1
    }

    fn next_node_key(&mut self) -> NodeKeyNumber {
        self.node_keys += 1;
        self.node_keys
    }

    /// Returns the call that a step is; none where what it is about is not there.
    pub fn resolve_step(&mut self, step: &HistoryStep, model: &KeyModel) -> Option<KeyCall> {
        Some(match *step {
            HistoryStep::Register { .. } => KeyCall::Register(self.resolve_register(step, model)?),
            HistoryStep::LogOut { machine, key } => KeyCall::Register(RegisterCall {
                machine,
                node_key: pick_key(model, machine, key)?,
                old_key: None,
                credential: PresentedCredential::None,
                ephemeral: false,
                is_logout: true,
            }),
            HistoryStep::MakeKey(made) => KeyCall::MakeKey(self.next_pre_auth_key(), made),
            HistoryStep::RevokeKey(place) => {
                // One key is good as long as the history lasts, so that clients go on coming.
                let keys: Vec<_> = model.keys().keys().skip(1).collect();
                KeyCall::RevokeKey(*pick(&keys, place)?)
            }
            HistoryStep::EndNodesOfKey(place) => {
                let revoked = model.keys().iter().filter(|(_, key)| key.revoked);
                let mut keys: Vec<_> = revoked.map(|(number, _)| number).collect();
                if keys.is_empty() {
                    keys.extend(model.keys().keys());
                }
                KeyCall::EndNodesOfKey(*pick(&keys, place)?)
            }
            HistoryStep::ApproveLogin { login, user } => {
                let known: Vec<_> = model.known_logins().collect();
                let login = pick(&known, login)?.0.to_owned();
                KeyCall::ApproveLogin { login, user }
            }
            HistoryStep::SetSuspended { user, suspended } => {
                KeyCall::SetSuspended { user, suspended }
            }
            HistoryStep::Sign { .. } if !model.is_locked() => return None,
            HistoryStep::Sign { machine, key } => KeyCall::Sign(pick_key(model, machine, key)?),
            HistoryStep::OnNode { node, change } => {
                // The device that signs does so as long as the history lasts.
                let is_drawn = |node: &&ModelNode| node.machine < MACHINES;
                let nodes: Vec<_> = model.nodes().iter().filter(is_drawn).collect();
                let node = pick(&nodes, node)?;
                KeyCall::OnNode(node.id?, node_call(change, node.key))
            }
        })
    }

    fn resolve_register(&mut self, step: &HistoryStep, model: &KeyModel) -> Option<RegisterCall> {
        let HistoryStep::Register {
            machine,
            key,
            old,
            credential,
            ephemeral,
        } = *step
        else {
            return None;
        };
        let mut node_key = match key {
            KeyPick::New => self.next_node_key(),
            named => pick_key(model, machine, named)?,
        };
        let old_key = match old {
            KeyPick::New => None,
            named => pick_key(model, machine, named),
        };
        let own_logins = model.known_logins().filter(|login| login.1 == machine);
        let own_logins: Vec<_> = own_logins.collect();
        let first_key = PresentedCredential::PreAuthKey(0);
        let credential = match credential {
            CredentialPick::PreAuthKey(place) => {
                let keys: Vec<_> = model.keys().keys().collect();
                PresentedCredential::PreAuthKey(*pick(&keys, place)?)
            }
            CredentialPick::Login(place) => match pick(&own_logins, place) {
                Some((login, _, of_key)) => {
                    node_key = of_key;
                    PresentedCredential::Login(login.to_owned())
                }
                None => first_key,
            },
            CredentialPick::Nothing if model.count_pending(machine) >= MOST_PENDING => first_key,
            CredentialPick::Nothing => PresentedCredential::None,
        };
        Some(RegisterCall {
            machine,
            node_key,
            old_key,
            credential,
            ephemeral,
            is_logout: false,
        })
    }
}

fn node_call(change: NodeStep, key: NodeKeyNumber) -> NodeCall {
    match change {
        NodeStep::Expire => NodeCall::Expire,
        NodeStep::Delete => NodeCall::Delete,
        NodeStep::Approve => NodeCall::Approve,
        NodeStep::Deny => NodeCall::Deny,
        NodeStep::Disable => NodeCall::Disable,
        NodeStep::Enable => NodeCall::Enable,
        NodeStep::NeverExpire => NodeCall::NeverExpire,
        NodeStep::ExpireAfter(seconds) => NodeCall::ExpireAfter(seconds),
        NodeStep::SetTag(tag) => NodeCall::SetTag(tag),
        NodeStep::Rename(name) => NodeCall::Rename(name),
        NodeStep::SetAttribute(value) => NodeCall::SetAttribute(value),
        NodeStep::Connect => NodeCall::Connect(key),
        NodeStep::Disconnect => NodeCall::Disconnect(key),
    }
}

fn pick<T: Copy>(all: &[T], place: usize) -> Option<T> {
    let place = place.checked_rem(all.len())?;
    all.get(place).copied()
}

fn pick_key(model: &KeyModel, machine: Machine, wanted: KeyPick) -> Option<NodeKeyNumber> {
    let bound = || model.bound_keys().iter();
    let (found, place): (Vec<_>, _) = match wanted {
        KeyPick::New => return None,
        KeyPick::Current(place) => {
            let own = model.nodes().iter().filter(|node| node.machine == machine);
            (own.map(|node| node.key).collect(), place)
        }
        KeyPick::Former(place) => {
            let own = bound().filter(|(_, holder)| **holder == machine);
            (own.map(|(key, _)| *key).collect(), place)
        }
        KeyPick::Foreign(place) => {
            let others = bound().filter(|(_, holder)| **holder != machine);
            (others.map(|(key, _)| *key).collect(), place)
        }
    };
    pick(&found, place)
}
