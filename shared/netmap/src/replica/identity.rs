//! What identity says of the tailnet and its users.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ids::UserId;
use bowline_proto::identity::v1::{
    IdentityChange, IdentitySnapshot, Tailnet, User, identity_change,
};

use super::{Replica, TailnetState};

impl Replica {
    /// Applies an identity snapshot.
    pub fn apply_identity_snapshot(&mut self, chunks: Vec<IdentitySnapshot>) {
        let mut users = BTreeMap::new();
        let mut found = None;
        for chunk in chunks {
            self.identity_revision = chunk.revision;
            found = chunk.tailnet.or(found);
            let known = chunk.users.into_iter().flat_map(User::under_each_id);
            users.extend(known.map(|user| (user.id, user)));
        }
        match found {
            Some(tailnet) => self.apply_identity_change(identity_change::Change::Tailnet(tailnet)),
            // A log without a tailnet is that of a deleted one.
            None if self.identity_revision > 0 => self.set_state(TailnetState::Deleted),
            None => {}
        }
        let known = self.view.users.keys().map(|id| id.get());
        let gone: Vec<_> = known.filter(|id| !users.contains_key(id)).collect();
        for id in gone {
            self.apply_identity_change(identity_change::Change::UserDeleted(id));
        }
        for user in users.into_values() {
            self.apply_identity_change(identity_change::Change::User(user));
        }
        self.show_waiting();
    }

    /// Applies entries of the identity log, which lead to `revision`.
    pub fn apply_identity_changes(&mut self, entries: Vec<IdentityChange>, revision: u64) {
        self.identity_revision = revision;
        for change in entries.into_iter().filter_map(|entry| entry.change) {
            self.apply_identity_change(change);
        }
        self.show_waiting();
    }

    /// Shows those who may have waited for identity.
    fn show_waiting(&mut self) {
        for id in std::mem::take(&mut self.waiting) {
            self.update_shown(id);
        }
    }

    fn apply_identity_change(&mut self, change: identity_change::Change) {
        match change {
            identity_change::Change::Tailnet(tailnet) => {
                self.set_state(TailnetState::Lives);
                if *self.view.tailnet != tailnet {
                    let before = std::mem::replace(&mut self.view.tailnet, Arc::new(tailnet));
                    if differ_in_dns_only(&before, &self.view.tailnet) {
                        self.changes.dns = true;
                    } else {
                        self.changes.everything = true;
                    }
                }
            }
            identity_change::Change::User(user) => {
                user.under_each_id().for_each(|user| self.put_user(user));
            }
            identity_change::Change::UserDeleted(id) => self.remove_user(id),
            // What a group means is the policy's business.
            identity_change::Change::Group(_) | identity_change::Change::GroupDeleted(_) => {}
            identity_change::Change::TailnetDeleted(_) => self.set_state(TailnetState::Deleted),
        }
    }

    fn set_state(&mut self, state: TailnetState) {
        let before = std::mem::replace(&mut self.state, state);
        if before != state && [before, state].contains(&TailnetState::Deleted) {
            for id in self.registry_nodes.keys().copied().collect::<Vec<_>>() {
                self.update_shown(id);
            }
        }
    }

    fn remove_user(&mut self, id: u64) {
        if let Ok(id) = UserId::try_from(id)
            && let Some(gone) = self.view.users.remove(&id)
        {
            self.changes.users.insert(id);
            self.show_nodes_of(id);
            for former in &gone.former_ids {
                self.remove_user(*former);
            }
        }
    }

    fn put_user(&mut self, user: User) {
        let Ok(id) = UserId::try_from(user.id) else {
            return;
        };
        let before = self.view.users.insert(id, Arc::new(user));
        let now = &self.view.users[&id];
        let looks = |user: &User| {
            let (login, name) = (user.login_name.clone(), user.display_name.clone());
            (login, name, user.profile_pic_url.clone())
        };
        if before.as_deref().map(looks) != Some(looks(now)) {
            self.changes.users.insert(id);
        }
        if before.is_none_or(|before| before.suspended != now.suspended) {
            self.show_nodes_of(id);
        }
    }

    fn show_nodes_of(&mut self, user: UserId) {
        let owned = self
            .nodes_of_user
            .get(&user.get())
            .into_iter()
            .flatten()
            .copied();
        // A node that waits may be shown as that of its user before.
        let nodes: BTreeSet<_> = owned.chain(self.view.devices_of_user(Some(user))).collect();
        for id in nodes {
            self.update_shown(id);
        }
    }
}

/// Says whether nothing but what names are resolved with differs. Another suffix is more: every name ends otherwise.
fn differ_in_dns_only(before: &Tailnet, now: &Tailnet) -> bool {
    let rest = Tailnet {
        dns: now.dns.clone(),
        ..before.clone()
    };
    rest == *now
}
