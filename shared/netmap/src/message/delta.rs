//! What differs for one node between the generation it was told of and now.

mod peers;

use std::{collections::BTreeSet, sync::Arc};

use bowline_control_wire::MapResponse;
use bowline_ids::{NodeId, UserId};
use bowline_proto::policy::v1::Settings;
use chrono::{DateTime, Utc};

use super::{
    filter,
    full::{dns_config, domain, lock_info},
    node,
    profile::{owner_id, user_profile},
    ssh,
    viewer::Viewer,
};
use crate::{
    ChangeSet, Difference, FilterSources, ShownNode, SourceListKey, View, ssh_source_lists,
    view_at::ViewAt,
};

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
///
/// [`Difference`] says what may differ for it; this looks at just that, and tells what does.
struct ViewerComparison<'v> {
    difference: &'v Difference,
    before: Option<Viewer<'v>>,
    now: Viewer<'v>,
}

/// Returns what node `id`, which was told everything before `difference`, has to be told.
///
/// An example: node 2 reports another endpoint, and node 1 sees it. Of the difference node 1 compares node 2 as a peer,
/// before and now; that is told as a patch with the endpoints. Its filter, SSH rules and own node are not looked at.
#[must_use]
pub fn build_delta(view: &View, difference: &Difference, id: NodeId, now: DateTime<Utc>) -> Delta {
    let changes = &*difference.changes;
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
    if changes.everything {
        // Every name may end otherwise now.
        return Delta::Full;
    }
    let Some(viewer) = Viewer::now(view, id) else {
        return Delta::Full;
    };
    let comparison = ViewerComparison {
        difference,
        before: Viewer::at(ViewAt::before(view, changes), id),
        now: viewer,
    };
    if comparison.renames_sources() {
        return Delta::Full;
    }
    let mut message = MapResponse::default();
    comparison.add_peers(&mut message);
    comparison.add_own_node(now, &mut message);
    comparison.add_ssh_policy(&mut message);
    comparison.add_filter(&mut message);
    comparison.add_profiles(&mut message);
    if changes.lock {
        message.tka_info = Some(lock_info(&view.lock));
    }
    message.dns_config = changes.dns.then(|| dns_config(&view.tailnet));
    if is_empty(&message) {
        Delta::Nothing
    } else {
        Delta::Message(Box::new(message))
    }
}

/// Says whether what a node that may not take part is told of itself differs, its facts apart.
fn changes_own_facts(changes: &ChangeSet, own: &ShownNode) -> bool {
    changes.everything
        || changes.dns
        || changes.lock
        || changes.users.contains(&owner_id(&own.node))
        || changes.settings.contains_key(&own.settings)
}

/// Returns the numbers of the peers that node `id` saw before `changes`, for a message that has none: clients take a list without
/// peers for none at all.
#[must_use]
pub fn lost_peers(view: &View, changes: &ChangeSet, id: NodeId) -> Vec<u64> {
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
    candidates.into_iter().map(NodeId::get).collect()
}

impl ViewerComparison<'_> {
    /// Says whether the capabilities that stand for sources are others than before, at every peer.
    fn renames_sources(&self) -> bool {
        self.now.at.view.sources == FilterSources::Capabilities
            && (self.difference.changes.common_filter
                || self.difference.whole_filter.contains(self.now.own))
    }

    /// Says whether a chunk of the filter differs because of its source list.
    fn changes_filter_list(&self, key: SourceListKey) -> bool {
        let (difference, view) = (self.difference, self.now.at.view);
        if difference.list_has_moved_address(view, key) {
            return true;
        }
        let Some(changed) = difference.changes.lists.get(&key) else {
            return false;
        };
        if view.sources == FilterSources::Addresses {
            return true;
        }
        // An address whose node came or went was written as one of nobody, or is now.
        let is_written = |element: &Arc<str>| {
            let named = view.node_by_address.get(element);
            named.is_none_or(|id| *id == self.now.own.id)
                || difference.moved_addresses.contains(&**element)
        };
        // The first element of a list, or its last, makes the rule come or go.
        let list = view.compiled.lists.get(&key);
        changed.iter().any(is_written) || list.is_none_or(|list| list.len() <= changed.len())
    }

    /// Says whether SSH rules differ because of a source list.
    fn changes_ssh_list(&self, key: SourceListKey) -> bool {
        self.difference.changes.lists.contains_key(&key)
            || self
                .difference
                .list_has_moved_address(self.now.at.view, key)
    }

    fn add_own_node(&self, time: DateTime<Utc>, message: &mut MapResponse) {
        if !self
            .difference
            .changed_for_itself
            .contains(&self.now.own.id)
        {
            return;
        }
        let same = self.before.is_some_and(|before| {
            let (was, now) = (own_settings(before), own_settings(self.now));
            before.own.node == self.now.own.node
                && was.map_or(&[][..], |was| &was.capabilities)
                    == now.map_or(&[][..], |now| &now.capabilities)
                && was.is_some_and(|was| was.hide_ipv4) == now.is_some_and(|now| now.hide_ipv4)
        });
        if !same {
            message.node = Some(node::own_node(self.now, time));
        }
    }

    fn add_ssh_policy(&self, message: &mut MapResponse) {
        let settings = own_settings(self.now);
        let mut lists = settings.into_iter().flat_map(ssh_source_lists);
        let is_same = !lists.any(|list| self.changes_ssh_list(list))
            && (!self
                .difference
                .changed_for_itself
                .contains(&self.now.own.id)
                || self.before.is_some_and(|before| {
                    let was = own_settings(before).map_or(&[][..], |was| &was.ssh);
                    was == settings.map_or(&[][..], |now| &now.ssh)
                }));
        if !is_same {
            let none = Settings::default();
            let settings = settings.unwrap_or(&none);
            message.ssh_policy = Some(ssh::ssh_policy(self.now.at.view, self.now.own, settings));
        }
    }

    fn add_filter(&self, message: &mut MapResponse) {
        let difference = self.difference;
        message.packet_filters =
            if difference.changes.common_filter || difference.whole_filter.contains(self.now.own) {
                filter::replace_all(filter::all_chunks(self.now))
            } else {
                filter::chunks_where(self.now, |list| self.changes_filter_list(list))
            };
    }

    fn add_profiles(&self, message: &mut MapResponse) {
        let (view, own) = (self.now.at.view, self.now.own);
        let told = message.peers_changed.iter().chain(&message.node);
        let mut users: BTreeSet<_> = told
            .filter_map(|node| UserId::try_from(node.user).ok())
            .collect();
        let sees = |user: &UserId| {
            let mut devices = view.devices_of_user(Some(*user));
            *user == owner_id(&own.node) || devices.any(|id| self.now.visible_peer(id).is_some())
        };
        users.extend(self.difference.changes.users.iter().copied().filter(sees));
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
    fn is_new_profile(&self, user: UserId) -> bool {
        let view = self.now.at.view;
        let Some(before) = self.before else {
            return true;
        };
        if self.difference.changes.users.contains(&user) {
            return true;
        }
        if owner_id(&before.own.node) == user {
            return false;
        }
        let devices = view.devices_of_user(Some(user));
        // Tagged nodes have no list of their own; mostly the first neighbours have some.
        let neighbours = if user == UserId::TAGGED_DEVICES {
            view.nodes_seen_by(before.class, before.own.user())
        } else {
            BTreeSet::new()
        };
        let mut candidates = self.difference.changes.nodes.keys().copied();
        let was_seen = |id: NodeId| {
            let peer = before.visible_peer(id);
            id != before.own.id && peer.is_some_and(|peer| owner_id(&peer.node) == user)
        };
        !(candidates.any(was_seen)
            || devices.into_iter().any(was_seen)
            || neighbours.into_iter().any(was_seen))
    }
}

/// Returns what the policy sets for a viewer itself.
fn own_settings<'v>(viewer: Viewer<'v>) -> Option<&'v Settings> {
    viewer.at.settings(viewer.own.settings)
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
        && message.tka_info.is_none()
}
