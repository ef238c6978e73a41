//! What differs for one node between the generation it was told of and now.

use std::collections::{BTreeMap, BTreeSet};

use bowline_control_wire::{MapResponse, PeerChange};
use bowline_keys::NodePublic;
use bowline_proto::policy::v1::{Class, VisibleClass};
use chrono::{DateTime, Utc};

use super::{
    filter,
    node::{self, capability_version, disco_key, routes_through, time},
    profile::{owner, profile},
    ssh,
};
use crate::tailnet::{ChangeSet, Shown, View, visible_in};

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
    view: &'v View,
    changes: &'v ChangeSet,
    before: Option<&'v Class>,
    now: &'v Class,
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
    let Some(class) = view.classes.get(&own.class) else {
        return Delta::Full;
    };
    let class_before = match changes.classes.get(&was.class) {
        Some(before) => before.as_deref(),
        None => view.classes.get(&was.class).map(|class| &**class),
    };
    let looks = Looks {
        view,
        changes,
        before: class_before,
        now: class,
    };
    let mut message = MapResponse::default();
    looks.peers(id, &mut message);
    looks.own(was, own, now, &mut message);
    looks.filter(was, own, &mut message);
    looks.profiles(id, own, &mut message);
    if is_empty(&message) {
        Delta::Nothing
    } else {
        Delta::Message(Box::new(message))
    }
}

impl Looks<'_> {
    fn peers(&self, id: u64, message: &mut MapResponse) {
        let mut candidates: BTreeSet<u64> = self.changes.nodes.keys().copied().collect();
        for class in self.differing_classes() {
            candidates.extend(self.view.members.get(&class).into_iter().flatten());
        }
        candidates.remove(&id);
        for candidate in candidates {
            let now = self.view.nodes.get(&candidate);
            let was = match self.changes.nodes.get(&candidate) {
                Some(was) => was.as_ref(),
                None => now,
            };
            let was = was.and_then(|shown| seen(self.before, shown));
            let now = now.and_then(|shown| seen(Some(self.now), shown));
            match (was, now) {
                (None, None) => {}
                (Some(_), None) => message.peers_removed.push(candidate),
                (None, Some((shown, visible))) => {
                    message
                        .peers_changed
                        .push(node::peer(self.view, shown, visible));
                }
                (Some(was), Some(now)) => self.changed(was, now, message),
            }
        }
    }

    /// Returns the classes whose members this node sees otherwise than before.
    fn differing_classes(&self) -> BTreeSet<u64> {
        let before = self.before.map(|class| &*class.visible).unwrap_or_default();
        if before == self.now.visible {
            // The common case, and so what a peer's class shows to others.
            return self.reshown_classes();
        }
        let index = |list: &[VisibleClass]| -> BTreeMap<u64, VisibleClass> {
            list.iter()
                .map(|visible| (visible.class_id, visible.clone()))
                .collect()
        };
        let (before, now) = (index(before), index(&self.now.visible));
        let mut differing: BTreeSet<u64> = before
            .keys()
            .chain(now.keys())
            .filter(|class| before.get(class) != now.get(class))
            .copied()
            .collect();
        differing.extend(self.reshown_classes());
        differing
    }

    /// Returns the classes that show other capabilities to their peers than before.
    fn reshown_classes(&self) -> BTreeSet<u64> {
        let shows = |class: Option<&Class>| class.map(|class| class.peer_capabilities.clone());
        self.changes
            .classes
            .iter()
            .filter(|(id, before)| {
                shows(before.as_deref()) != shows(self.view.classes.get(*id).map(|class| &**class))
            })
            .map(|(id, _)| *id)
            .collect()
    }

    fn changed(
        &self,
        (was, seen_before): (&Shown, &VisibleClass),
        (now, seen_now): (&Shown, &VisibleClass),
        message: &mut MapResponse,
    ) {
        let same_routes = routes_through(was, seen_before).eq(routes_through(now, seen_now));
        let capabilities = |shown: &Shown, changed: bool| {
            let before = self.changes.classes.get(&shown.class).filter(|_| changed);
            let class = match before {
                Some(before) => before.as_deref(),
                None => self.view.classes.get(&shown.class).map(|class| &**class),
            };
            class
                .map(|class| class.peer_capabilities.clone())
                .unwrap_or_default()
        };
        let same = same_routes && capabilities(was, true) == capabilities(now, false);
        match (same, patch(was, now)) {
            (true, Patch::Same) => {}
            (true, Patch::Fields(change)) => message.peers_changed_patch.push(*change),
            _ => message
                .peers_changed
                .push(node::peer(self.view, now, seen_now)),
        }
    }

    fn own(&self, was: &Shown, now: &Shown, time: DateTime<Utc>, message: &mut MapResponse) {
        let capabilities = |class: &Class| class.capabilities.clone();
        if was.node != now.node || self.before.map(capabilities) != Some(capabilities(self.now)) {
            message.node = Some(node::own(self.view, now, time));
        }
        if self.before.is_none_or(|before| before.ssh != self.now.ssh) {
            message.ssh_policy = Some(ssh::policy(self.now));
        }
    }

    fn filter(&self, was: &Shown, now: &Shown, message: &mut MapResponse) {
        let same_rules = self
            .before
            .is_some_and(|before| before.filter == self.now.filter);
        let same_addresses = (&was.node.ipv4, &was.node.ipv6) == (&now.node.ipv4, &now.node.ipv6);
        message.packet_filters = if same_rules && same_addresses {
            filter::some(self.view, now, self.now, |list| {
                self.changes.source_lists.contains(&list)
            })
        } else {
            filter::replacing(filter::all(self.view, now, self.now))
        };
    }

    fn profiles(&self, id: u64, own: &Shown, message: &mut MapResponse) {
        let mut users: BTreeSet<u64> = message.peers_changed.iter().map(|peer| peer.user).collect();
        if let Some(node) = &message.node {
            users.insert(node.user);
        }
        if !self.changes.users.is_empty() {
            let visible = self
                .view
                .peers(id, own.class)
                .map(|(peer, _)| owner(&peer.node));
            let visible: BTreeSet<u64> = visible.chain([owner(&own.node)]).collect();
            users.extend(self.changes.users.intersection(&visible));
        }
        message.user_profiles = users
            .into_iter()
            .map(|user| profile(self.view, user))
            .collect();
    }
}

/// Returns a node and how it is seen, when it is.
fn seen<'s>(viewer: Option<&'s Class>, shown: &'s Shown) -> Option<(&'s Shown, &'s VisibleClass)> {
    let visible = visible_in(viewer?, shown.class)?;
    shown.offered.then_some((shown, visible))
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
