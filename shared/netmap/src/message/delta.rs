//! What differs for one node between the generation it was told of and now.

use std::{collections::BTreeSet, sync::Arc};

use bowline_control_wire::{MapResponse, PeerChange};
use bowline_keys::NodePublic;
use bowline_proto::time::from_timestamp;
use chrono::{DateTime, Utc};

use super::{
    filter,
    full::{dns_config, domain},
    node::{self, capability_version, disco_key},
    profile::{TAGGED_DEVICES, owner_id, user_profile},
    ssh,
    viewer::{ViewAt, Viewer},
};
use crate::{ChangeSet, FilterSources, ShownNode, SourceListKey, View, ssh_source_lists};

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

/// One node as a viewer before and now.
struct ViewerComparison<'v> {
    changes: &'v ChangeSet,
    /// The addresses that filters name otherwise than before because of their nodes.
    moved: BTreeSet<&'v str>,
    before: Option<Viewer<'v>>,
    now: Viewer<'v>,
}

/// Returns what node `id`, which was told everything before `changes`, has to be told.
#[must_use]
pub fn build_delta(view: &View, changes: &ChangeSet, id: u64, now: DateTime<Utc>) -> Delta {
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
        (false, false) if was == own && !changes_own_facts(changes, own) => return Delta::Nothing,
        (false, false) => return Delta::Full,
        (true, true) => {}
    }
    if changes.tailnet {
        // Every name may end otherwise now.
        return Delta::Full;
    }
    let Some(viewer) = Viewer::at(ViewAt::now(view), id) else {
        return Delta::Full;
    };
    let comparison = ViewerComparison {
        changes,
        moved: changes.moved_addresses(view),
        before: Viewer::at(ViewAt::before(view, changes), id),
        now: viewer,
    };
    if comparison.renames_sources() {
        return Delta::Full;
    }
    let mut message = MapResponse::default();
    comparison.add_peers(id, &mut message);
    comparison.add_own_node(now, &mut message);
    comparison.add_filter(&mut message);
    comparison.add_profiles(&mut message);
    message.dns_config = changes.dns.then(|| dns_config(&view.tailnet));
    if is_empty(&message) {
        Delta::Nothing
    } else {
        Delta::Message(Box::new(message))
    }
}

/// Says whether what a node is told of itself differs, its facts apart.
fn changes_own_facts(changes: &ChangeSet, own: &ShownNode) -> bool {
    changes.tailnet
        || changes.dns
        || changes.users.contains(&owner_id(&own.node))
        || changes.settings.contains_key(&own.settings)
}

/// Returns the peers that node `id` saw before `changes`, for a message that has none: clients take a list without
/// peers for none at all.
#[must_use]
pub fn lost_peers(view: &View, changes: &ChangeSet, id: u64) -> Vec<u64> {
    let before = Viewer::at(ViewAt::before(view, changes), id);
    let Some(before) = before.filter(|before| before.own.offered) else {
        return Vec::new();
    };
    let mut candidates = view.nodes_seen_by(before.class, before.own.user());
    candidates.extend(changes.nodes.keys());
    for class in changes.classes.keys() {
        candidates.extend(view.nodes_in_class(*class));
    }
    candidates.retain(|candidate| before.visible_peer(*candidate).is_some());
    candidates.into_iter().collect()
}

/// Says whether node `id` has to be told something of its own filter or SSH policy because of nodes that differ.
#[must_use]
pub fn changes_own_rules(view: &View, changes: &ChangeSet, id: u64) -> bool {
    let moved = changes.moved_addresses(view);
    let Some(viewer) = Viewer::now(view, id).filter(|_| !moved.is_empty()) else {
        return false;
    };
    let has_moved = |list: SourceListKey| {
        let elements = view.compiled.lists.get(&list);
        elements.is_some_and(|some| moved.iter().any(|address| some.contains(*address)))
    };
    let logins = viewer
        .at
        .settings(viewer.own.settings)
        .map(ssh_source_lists);
    viewer.filter_lists().any(has_moved) || logins.into_iter().flatten().any(has_moved)
}

impl ViewerComparison<'_> {
    /// Says whether the capabilities that stand for sources are others than before, at every peer.
    fn renames_sources(&self) -> bool {
        let same = self.before.is_some_and(|before| {
            before.class.filter == self.now.class.filter && before.own.user() == self.now.own.user()
        });
        self.now.at.view.sources == FilterSources::Capabilities
            && (!same || self.changes.common_filter)
    }

    /// Says whether a chunk of the filter differs because of its source list.
    fn changes_filter_list(&self, key: SourceListKey) -> bool {
        let (changes, view) = (self.changes, self.now.at.view);
        let changed = changes.lists.get(&key);
        let list = view.compiled.lists.get(&key);
        if list.is_some_and(|list| self.moved.iter().any(|address| list.contains(*address))) {
            return true;
        }
        if view.sources == FilterSources::Addresses {
            return changed.is_some();
        }
        // An address whose node came or went was written as one of nobody, or is now.
        let is_written = |element: &Arc<str>| {
            let named = view.node_by_address.get(element);
            named.is_none_or(|id| *id == self.now.own.node.id) || self.moved.contains(&**element)
        };
        changed.is_some_and(|changed| {
            // The first element of a list, or its last, makes the rule come or go.
            changed.iter().any(is_written) || list.is_none_or(|list| list.len() <= changed.len())
        })
    }

    /// Says whether SSH rules differ because of a source list.
    fn changes_ssh_list(&self, key: SourceListKey) -> bool {
        let list = self.now.at.view.compiled.lists.get(&key);
        self.changes.lists.contains_key(&key)
            || list.is_some_and(|list| self.moved.iter().any(|address| list.contains(*address)))
    }

    fn add_peers(&self, id: u64, message: &mut MapResponse) {
        let mut candidates = self.possibly_changed_peers();
        candidates.remove(&id);
        for candidate in candidates {
            let was = self
                .before
                .and_then(|viewer| Some((viewer, viewer.visible_peer(candidate)?)));
            match (was, self.now.visible_peer(candidate)) {
                (None, None) => {}
                (Some(_), None) => message.peers_removed.push(candidate),
                (None, Some(now)) => message.peers_changed.push(node::peer_node(self.now, now)),
                (Some((before, was)), Some(now)) => {
                    self.add_changed_peer(before, was, now, message)
                }
            }
        }
    }

    /// Returns the nodes that may be seen otherwise than before.
    fn possibly_changed_peers(&self) -> BTreeSet<u64> {
        let (changes, view) = (self.changes, self.now.at.view);
        let mut candidates: BTreeSet<u64> = changes.nodes.keys().copied().collect();
        for id in changes.classes.keys() {
            candidates.extend(view.nodes_in_class(*id));
        }
        for id in changes.settings.keys() {
            candidates.extend(view.nodes_with_settings(*id));
        }
        for prefix in changes.routes.keys() {
            candidates.extend(view.route_nodes.get(prefix).into_iter().flatten());
        }
        for viewer in self.before.iter().chain([&self.now]) {
            candidates.extend(viewer.rival_routers(|id| changes.nodes.contains_key(&id)));
        }
        if view.sources == FilterSources::Capabilities {
            let lists = self.now.filter_lists();
            let relisted = lists.filter_map(|list| changes.lists.get(&list)).flatten();
            candidates.extend(relisted.filter_map(|element| view.node_by_address.get(element)));
        }
        let same_viewer = self.before.is_some_and(|before| {
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
        if !same_viewer || !same_ways {
            for viewer in self.before.iter().chain([&self.now]) {
                candidates.extend(view.nodes_seen_by(viewer.class, viewer.own.user()));
            }
        }
        candidates
    }

    /// Says whether a peer came to a source list of the node's own filter, or left one: mostly with its class, but one
    /// that waits for a class computed from it stays in its class.
    fn is_relisted(&self, peer: &ShownNode) -> bool {
        let mut lists = self.now.filter_lists();
        lists.any(|list| {
            let elements = self.changes.lists.get(&list);
            elements.is_some_and(|some| peer.addresses().any(|address| some.contains(address)))
        })
    }

    fn add_changed_peer(
        &self,
        before: Viewer<'_>,
        was: &ShownNode,
        now: &ShownNode,
        message: &mut MapResponse,
    ) {
        let view = self.now.at.view;
        let capabilities = |viewer: Viewer<'_>, shown: &ShownNode| {
            let settings = viewer.at.settings(shown.settings);
            settings
                .map(|set| set.peer_capabilities.clone())
                .unwrap_or_default()
        };
        let same_lists = view.sources == FilterSources::Addresses
            || (was.class == now.class && !self.is_relisted(now));
        let same = same_lists
            && before.routes_through(was) == self.now.routes_through(now)
            && before.hides_ipv4_of(was) == self.now.hides_ipv4_of(now)
            && capabilities(before, was) == capabilities(self.now, now);
        match (same, compare_shared_facts(was, now)) {
            (true, PeerDifference::Same) => {}
            (true, PeerDifference::Fields(change)) => message.peers_changed_patch.push(*change),
            _ => message.peers_changed.push(node::peer_node(self.now, now)),
        }
    }

    fn add_own_node(&self, time: DateTime<Utc>, message: &mut MapResponse) {
        let set = |viewer: Viewer<'_>| {
            viewer
                .at
                .settings(viewer.own.settings)
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
            message.node = Some(node::own_node(self.now, time));
        }
        let lists = ssh_source_lists(&now);
        let same_lists = !lists.iter().any(|list| self.changes_ssh_list(*list));
        if !same_lists || before.is_none_or(|before| before.ssh != now.ssh) {
            message.ssh_policy = Some(ssh::ssh_policy(self.now.at.view, self.now.own, &now));
        }
    }

    fn add_filter(&self, message: &mut MapResponse) {
        let same = self.before.is_some_and(|before| {
            let facts = |viewer: Viewer<'_>| {
                (
                    viewer.own.node.ipv4.clone(),
                    viewer.own.node.ipv6.clone(),
                    viewer.own.user(),
                )
            };
            before.class.filter == self.now.class.filter && facts(before) == facts(self.now)
        });
        message.packet_filters = if same && !self.changes.common_filter {
            filter::chunks_where(self.now, |list| self.changes_filter_list(list))
        } else {
            filter::replace_all(filter::all_chunks(self.now))
        };
    }

    fn add_profiles(&self, message: &mut MapResponse) {
        let (view, own) = (self.now.at.view, self.now.own);
        let mut users: BTreeSet<u64> = message.peers_changed.iter().map(|peer| peer.user).collect();
        if let Some(node) = &message.node {
            users.insert(node.user);
        }
        let sees = |user: &u64| {
            let mut devices = view.devices_of_user(Some(*user));
            *user == owner_id(&own.node) || devices.any(|id| self.now.visible_peer(id).is_some())
        };
        users.extend(self.changes.users.iter().copied().filter(sees));
        if users.iter().any(|user| self.is_new_profile(*user)) {
            // Clients from 1.100 on show a profile that is new to them only after they have built their whole map
            // anew. The network's name makes them do that, and is the least that does.
            message.domain = domain(&view.tailnet);
        }
        message.user_profiles = users
            .into_iter()
            .map(|user| user_profile(view, user))
            .collect();
    }

    /// Says whether the client does not know a profile yet, or knows another one.
    fn is_new_profile(&self, user: u64) -> bool {
        let view = self.now.at.view;
        let Some(before) = self.before else {
            return true;
        };
        if self.changes.users.contains(&user) {
            return true;
        }
        if owner_id(&before.own.node) == user {
            return false;
        }
        let devices = view.devices_of_user(Some(user));
        // Tagged nodes have no list of their own; mostly the first neighbours have some.
        let neighbours = if user == TAGGED_DEVICES {
            view.nodes_seen_by(before.class, before.own.user())
        } else {
            BTreeSet::new()
        };
        let mut candidates = self.changes.nodes.keys().copied();
        let was_seen = |id: u64| {
            let peer = before.visible_peer(id);
            id != before.own.node.id && peer.is_some_and(|peer| owner_id(&peer.node) == user)
        };
        !(candidates.any(was_seen)
            || devices.into_iter().any(was_seen)
            || neighbours.into_iter().any(was_seen))
    }
}

/// How a peer that is seen before and now differs.
enum PeerDifference {
    Same,
    Fields(Box<PeerChange>),
    Whole,
}

/// Compares what everybody sees alike of a peer.
fn compare_shared_facts(was: &ShownNode, now: &ShownNode) -> PeerDifference {
    let (soft_was, soft) = (&was.soft, &now.soft);
    if was.node != now.node {
        let mut rest = (*was.node).clone();
        rest.node_key.clone_from(&now.node.node_key);
        rest.key_expiry = now.node.key_expiry;
        if rest != *now.node || now.node.key_expiry.is_none() && was.node.key_expiry.is_some() {
            return PeerDifference::Whole;
        }
    }
    let emptied = |was: bool, now: bool| !was && now;
    if soft_was.hostinfo != soft.hostinfo
        || emptied(soft_was.endpoints.is_empty(), soft.endpoints.is_empty())
        || emptied(soft_was.disco_key.is_empty(), soft.disco_key.is_empty())
        || emptied(soft_was.home_derp == 0, soft.home_derp == 0)
        || emptied(
            soft_was.online || soft_was.last_seen.is_none(),
            !soft.online && soft.last_seen.is_none(),
        ) && !soft_was.online
    {
        return PeerDifference::Whole;
    }
    let mut change = PeerChange {
        node_id: now.node.id,
        ..PeerChange::default()
    };
    if was.node.node_key != now.node.node_key {
        change.key = NodePublic::try_from(&*now.node.node_key).ok();
    }
    if was.node.key_expiry != now.node.key_expiry {
        change.key_expiry = now.node.key_expiry.and_then(from_timestamp);
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
    }
    if (soft_was.online, soft_was.last_seen) != (soft.online, soft.last_seen) {
        change.last_seen = soft
            .last_seen
            .filter(|_| !soft.online)
            .and_then(from_timestamp);
    }
    let empty = PeerChange {
        node_id: now.node.id,
        ..PeerChange::default()
    };
    if serde_json::to_value(&change).ok() == serde_json::to_value(&empty).ok() {
        PeerDifference::Same
    } else {
        PeerDifference::Fields(Box::new(change))
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
        && message.dns_config.is_none()
}
