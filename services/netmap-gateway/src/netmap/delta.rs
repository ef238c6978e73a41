//! What differs for one node between the generation it was told of and now.

use std::{collections::BTreeSet, sync::Arc};

use bowline_control_wire::{MapResponse, PeerChange};
use bowline_keys::NodePublic;
use chrono::{DateTime, Utc};

use super::{
    filter,
    look::{Eyes, Look},
    node::{self, capability_version, disco_key, time},
    profile::{owner, profile},
    ssh,
};
use crate::tailnet::{ChangeSet, ListKey, Shown, Sources, View, login_lists};

/// What a session sends next.
#[derive(Clone, Debug)]
pub enum Delta {
    /// Nothing the client may know has changed.
    Nothing,
    /// A message with what changed.
    Message(Box<MapResponse>),
    /// Too much has changed for a difference: the first message again.
    Full,
    /// The node is no longer there, or may no longer take part: the stream ends.
    Ended,
}

/// One node's eyes before and now.
struct Looks<'v> {
    changes: &'v ChangeSet,
    before: Option<Eyes<'v>>,
    now: Eyes<'v>,
}

/// Returns what node `id`, which was told everything before `changes`, has to be told.
#[must_use]
pub fn delta(view: &View, changes: &ChangeSet, id: u64, now: DateTime<Utc>) -> Delta {
    let own_before = changes.nodes.get(&id);
    let Some(own) = view.nodes.get(&id) else {
        return Delta::Ended;
    };
    let was = match own_before {
        Some(Some(was)) => was,
        Some(None) => return Delta::Full,
        None => own,
    };
    match (was.offered, own.offered) {
        (true, false) => return Delta::Ended,
        (false, true) => return Delta::Full,
        (false, false) if was == own => return Delta::Nothing,
        (false, false) => return Delta::Full,
        (true, true) => {}
    }
    if changes.tailnet {
        // Every name may end otherwise now.
        return Delta::Full;
    }
    let Some(eyes) = Eyes::of(Look::now(view), id) else {
        return Delta::Full;
    };
    let looks = Looks {
        changes,
        before: Eyes::of(Look::before(view, changes), id),
        now: eyes,
    };
    if looks.recasts_sources() {
        return Delta::Full;
    }
    let mut message = MapResponse::default();
    looks.peers(id, &mut message);
    looks.own(now, &mut message);
    looks.filter(&mut message);
    looks.profiles(&mut message);
    if is_empty(&message) {
        Delta::Nothing
    } else {
        Delta::Message(Box::new(message))
    }
}

impl Looks<'_> {
    /// Says whether the capabilities that stand for sources are others than before, at every peer.
    fn recasts_sources(&self) -> bool {
        let same = self.before.is_some_and(|before| {
            before.class.filter == self.now.class.filter && before.own.user() == self.now.own.user()
        });
        self.now.look.view.sources == Sources::Capabilities && (!same || self.changes.common_filter)
    }

    /// Says whether a chunk of the filter differs because of its source list.
    fn resources(&self, key: ListKey) -> bool {
        let (changes, view) = (self.changes, self.now.look.view);
        let changed = changes.lists.get(&key);
        if view.sources == Sources::Addresses {
            return changed.is_some();
        }
        let list = view.compiled.lists.get(&key);
        let is_written = |element: &Arc<str>| {
            view.addresses
                .get(element)
                .is_none_or(|id| *id == self.now.own.node.id)
        };
        let differs = changed.is_some_and(|changed| {
            // The first element of a list, or its last, makes the rule come or go.
            changed.iter().any(is_written) || list.is_none_or(|list| list.len() <= changed.len())
        });
        // An address is written out while no node is shown with it.
        let shown_otherwise = |(id, before): (&u64, &Option<Shown>)| {
            let now = view.nodes.get(id);
            let addresses = |shown: Option<&Shown>| {
                shown.map(|shown| (shown.node.ipv4.clone(), shown.node.ipv6.clone()))
            };
            let mut sides = before.iter().chain(now);
            addresses(before.as_ref()) != addresses(now)
                && list.is_some_and(|list| {
                    sides.any(|shown| shown.addresses().any(|address| list.contains(address)))
                })
        };
        differs || changes.nodes.iter().any(shown_otherwise)
    }

    fn peers(&self, id: u64, message: &mut MapResponse) {
        let mut candidates = self.candidates();
        candidates.remove(&id);
        for candidate in candidates {
            let was = self
                .before
                .and_then(|eyes| Some((eyes, eyes.peer(candidate)?)));
            match (was, self.now.peer(candidate)) {
                (None, None) => {}
                (Some(_), None) => message.peers_removed.push(candidate),
                (None, Some(now)) => message.peers_changed.push(node::peer(self.now, now)),
                (Some((before, was)), Some(now)) => self.changed(before, was, now, message),
            }
        }
    }

    /// Returns the nodes that may be seen otherwise than before.
    fn candidates(&self) -> BTreeSet<u64> {
        let (changes, view) = (self.changes, self.now.look.view);
        let mut candidates: BTreeSet<u64> = changes.nodes.keys().copied().collect();
        for id in changes.classes.keys() {
            candidates.extend(view.members(*id));
        }
        for id in changes.settings.keys() {
            candidates.extend(view.set(*id));
        }
        for prefix in changes.routes.keys() {
            candidates.extend(view.routers.get(prefix).into_iter().flatten());
        }
        for eyes in self.before.iter().chain([&self.now]) {
            candidates.extend(eyes.rivals(|id| changes.nodes.contains_key(&id)));
        }
        let same_eyes = self.before.is_some_and(|before| {
            before.own.class == self.now.own.class
                && before.class.sees == self.now.class.sees
                && before.class.selectors == self.now.class.selectors
                && before.class.sees_own == self.now.class.sees_own
                && before.class.exit_routes == self.now.class.exit_routes
                && before.class.vias == self.now.class.vias
                && before.own.usable_routes().eq(self.now.own.usable_routes())
                && before.own.user() == self.now.own.user()
                && before.hides_ipv4_of(before.own) == self.now.hides_ipv4_of(self.now.own)
        });
        let same_ways = !self
            .now
            .class
            .vias
            .iter()
            .any(|way| changes.vias.contains_key(way));
        if !same_eyes || !same_ways {
            for eyes in self.before.iter().chain([&self.now]) {
                candidates.extend(view.neighbours_of(eyes.class, eyes.own.user()));
            }
        }
        candidates
    }

    fn changed(&self, before: Eyes<'_>, was: &Shown, now: &Shown, message: &mut MapResponse) {
        let view = self.now.look.view;
        let capabilities = |eyes: Eyes<'_>, shown: &Shown| {
            let settings = eyes.look.settings(shown.settings);
            settings
                .map(|set| set.peer_capabilities.clone())
                .unwrap_or_default()
        };
        // The source lists a node is in follow from its class.
        let same_lists = view.sources == Sources::Addresses || was.class == now.class;
        let same = same_lists
            && before.routes_through(was) == self.now.routes_through(now)
            && before.hides_ipv4_of(was) == self.now.hides_ipv4_of(now)
            && capabilities(before, was) == capabilities(self.now, now);
        match (same, patch(was, now)) {
            (true, Patch::Same) => {}
            (true, Patch::Fields(change)) => message.peers_changed_patch.push(*change),
            _ => message.peers_changed.push(node::peer(self.now, now)),
        }
    }

    fn own(&self, time: DateTime<Utc>, message: &mut MapResponse) {
        let set = |eyes: Eyes<'_>| {
            eyes.look
                .settings(eyes.own.settings)
                .cloned()
                .unwrap_or_default()
        };
        let now = set(self.now);
        let before = self.before.map(set);
        let same_node = self
            .before
            .is_some_and(|before| before.own.node == self.now.own.node);
        let same_settings = before.as_ref().is_some_and(|before| {
            (&before.capabilities, before.hide_ipv4) == (&now.capabilities, now.hide_ipv4)
        });
        if !same_node || !same_settings {
            message.node = Some(node::own(self.now, time));
        }
        let lists = login_lists(&now);
        let same_lists = !self
            .changes
            .lists
            .keys()
            .any(|(list, _)| lists.contains(list));
        if !same_lists || before.is_none_or(|before| before.ssh != now.ssh) {
            message.ssh_policy = Some(ssh::policy(self.now.look.view, self.now.own, &now));
        }
    }

    fn filter(&self, message: &mut MapResponse) {
        let same = self.before.is_some_and(|before| {
            let facts = |eyes: Eyes<'_>| {
                (
                    eyes.own.node.ipv4.clone(),
                    eyes.own.node.ipv6.clone(),
                    eyes.own.user(),
                )
            };
            before.class.filter == self.now.class.filter && facts(before) == facts(self.now)
        });
        message.packet_filters = if same && !self.changes.common_filter {
            filter::some(self.now, |list| self.resources(list))
        } else {
            filter::replacing(filter::all(self.now))
        };
    }

    fn profiles(&self, message: &mut MapResponse) {
        let (view, own) = (self.now.look.view, self.now.own);
        let mut users: BTreeSet<u64> = message.peers_changed.iter().map(|peer| peer.user).collect();
        if let Some(node) = &message.node {
            users.insert(node.user);
        }
        if !self.changes.users.is_empty() {
            let neighbours = view.neighbours(own).into_iter();
            let visible = neighbours
                .filter_map(|id| self.now.peer(id))
                .map(|peer| owner(&peer.node));
            let visible: BTreeSet<u64> = visible.chain([owner(&own.node)]).collect();
            users.extend(self.changes.users.intersection(&visible));
        }
        message.user_profiles = users.into_iter().map(|user| profile(view, user)).collect();
    }
}

/// How a peer that is seen before and now differs.
enum Patch {
    Same,
    Fields(Box<PeerChange>),
    Whole,
}

/// Compares what everybody sees alike of a peer.
fn patch(was: &Shown, now: &Shown) -> Patch {
    let (soft_was, soft) = (&was.soft, &now.soft);
    if was.node != now.node {
        let mut rest = (*was.node).clone();
        rest.node_key.clone_from(&now.node.node_key);
        rest.key_expiry = now.node.key_expiry;
        if rest != *now.node || now.node.key_expiry.is_none() && was.node.key_expiry.is_some() {
            return Patch::Whole;
        }
    }
    let emptied = |was: bool, now: bool| !was && now;
    if soft_was.hostinfo != soft.hostinfo
        || emptied(soft_was.endpoints.is_empty(), soft.endpoints.is_empty())
        || emptied(soft_was.disco_key.is_empty(), soft.disco_key.is_empty())
        || emptied(soft_was.home_derp == 0, soft.home_derp == 0)
    {
        return Patch::Whole;
    }
    let mut change = PeerChange {
        node_id: now.node.id,
        ..PeerChange::default()
    };
    if was.node.node_key != now.node.node_key {
        change.key = NodePublic::try_from(&*now.node.node_key).ok();
    }
    if was.node.key_expiry != now.node.key_expiry {
        change.key_expiry = now.node.key_expiry.and_then(time);
    }
    if soft_was.home_derp != soft.home_derp {
        change.derp_region = soft.home_derp;
    }
    if soft_was.capability_version != soft.capability_version {
        change.cap = capability_version(soft.capability_version);
    }
    let addresses = |endpoints: &[bowline_proto::key_registry::v1::Endpoint]| -> Vec<String> {
        endpoints
            .iter()
            .map(|endpoint| endpoint.address.clone())
            .collect()
    };
    if addresses(&soft_was.endpoints) != addresses(&soft.endpoints) {
        change.endpoints = addresses(&soft.endpoints);
    }
    if soft_was.disco_key != soft.disco_key {
        change.disco_key = disco_key(&soft.disco_key);
    }
    if soft_was.online != soft.online {
        change.online = Some(soft.online);
        change.last_seen = soft.last_seen.filter(|_| !soft.online).and_then(time);
    }
    let empty = PeerChange {
        node_id: now.node.id,
        ..PeerChange::default()
    };
    if serde_json::to_value(&change).ok() == serde_json::to_value(&empty).ok() {
        Patch::Same
    } else {
        Patch::Fields(Box::new(change))
    }
}

fn is_empty(message: &MapResponse) -> bool {
    message.node.is_none()
        && message.peers_changed.is_empty()
        && message.peers_removed.is_empty()
        && message.peers_changed_patch.is_empty()
        && message.packet_filters.is_empty()
        && message.user_profiles.is_empty()
        && message.ssh_policy.is_none()
}
