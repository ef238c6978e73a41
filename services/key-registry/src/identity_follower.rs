//! Follows identity's log: who is suspended or gone, whose nodes change nothing of themselves until that is over. The
//! nodes of a deleted user go with the user, but for tagged ones; those of a deleted tailnet with it.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bowline_bus::Bus;
use bowline_change_feed::{Feed, IdentityLog, Update};
use bowline_db::Mutation;
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::{IdentityChange, identity_change::Change},
    key_registry::v1::Node,
};
use bowline_service_kit::Tasks;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    KeyRegistry,
    error::RegistryError,
    node_changes,
    store::{adoptions, barred_users, nodes, soft_states::SoftRow},
};

/// How soon a tailnet with its first node is followed.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long a registration may be under way that has asked for its user before the user was deleted.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Follows every tailnet that has nodes.
pub fn start_following(registry: &KeyRegistry, bus: &Bus, tasks: &Tasks) {
    let feed = Feed::start(
        IdentityLog::new(registry.peers.identity.clone()),
        bus,
        tasks,
    );
    tasks.spawn_background(
        "follow-owners",
        follow_tailnets(registry.clone(), feed, tasks.clone()),
    );
}

async fn follow_tailnets(registry: KeyRegistry, feed: Feed<IdentityLog>, tasks: Tasks) {
    let mut followed = BTreeSet::new();
    loop {
        let tailnets = nodes::list_tailnets(registry.log.database().reader())
            .await
            .unwrap_or_default();
        for tailnet in tailnets
            .into_iter()
            .filter_map(|id| TailnetId::try_from(id).ok())
        {
            if followed.insert(tailnet) {
                let following = follow_tailnet(registry.clone(), feed.clone(), tailnet);
                tasks.spawn_background("follow-owners-of", following);
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn follow_tailnet(registry: KeyRegistry, feed: Feed<IdentityLog>, tailnet: TailnetId) {
    let mut follow = feed.follow_tailnet(tailnet);
    let mut again: VecDeque<(Instant, u64)> = VecDeque::new();
    loop {
        let due = again.front().map(|(due, _)| *due);
        let ends = tokio::select! {
            update = follow.next() => {
                let heard = StandingUpdate::from_update(&update);
                while let Err(error) = registry.apply_standing(tailnet, heard.clone()).await {
                    tracing::warn!(%error, %tailnet, "suspensions can not be noted yet");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                DeletedOwners::from_update(update)
            }
            () = sleep_until(due) => DeletedOwners::Users(again.pop_front().map(|(_, user)| user).into_iter().collect()),
        };
        while let Err(error) = registry.delete_orphans(tailnet, &ends).await {
            tracing::warn!(%error, %tailnet, "nodes of deleted users can not be deleted yet");
            tokio::time::sleep(RETRY_DELAY).await;
        }
        if let DeletedOwners::Users(users) = ends
            && due.is_none_or(|due| due > Instant::now())
        {
            let due = Instant::now() + REGISTRATION_TIMEOUT;
            again.extend(users.into_iter().map(|user| (due, user)));
        }
    }
}

/// Waits for a moment, or for ever without one.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What identity's log says of who is in good standing, up to a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StandingUpdate {
    /// Of all users; those it does not name are gone.
    AllUsers {
        suspended: BTreeSet<u64>,
        present: BTreeSet<u64>,
        revision: u64,
    },
    /// Of these, in order: the revision that says so, the user, and whether the user is suspended or gone.
    SomeUsers {
        changes: Vec<(u64, u64, bool)>,
        revision: u64,
    },
}

impl StandingUpdate {
    fn from_update(update: &Update<IdentityLog>) -> Self {
        match update {
            Update::Snapshot(snapshot) => {
                let users = || snapshot.chunks.iter().flat_map(|chunk| &chunk.users);
                let suspended = users().filter(|user| user.suspended);
                Self::AllUsers {
                    suspended: suspended.map(|user| user.id).collect(),
                    present: users().map(|user| user.id).collect(),
                    revision: snapshot.position.revision,
                }
            }
            Update::Changes(changes, position) => {
                let numbered = (changes.from_revision + 1..).zip(&changes.entries);
                let change = |(revision, entry): (u64, &IdentityChange)| match &entry.change {
                    Some(Change::User(user)) => Some((revision, user.id, user.suspended)),
                    Some(Change::UserDeleted(user)) => Some((revision, *user, true)),
                    _ => None,
                };
                Self::SomeUsers {
                    changes: numbered.filter_map(change).collect(),
                    revision: position.revision,
                }
            }
        }
    }
}

/// Whose nodes have to go.
#[derive(Debug, PartialEq, Eq)]
enum DeletedOwners {
    /// Those of these users.
    Users(BTreeSet<u64>),
    /// Those of all users but these.
    AllBut(BTreeSet<u64>),
    /// All: the tailnet is deleted.
    Tailnet,
}

impl DeletedOwners {
    fn from_update(update: Update<IdentityLog>) -> Self {
        match update {
            Update::Snapshot(snapshot) => {
                let chunks = &snapshot.chunks;
                if chunks.iter().any(|chunk| chunk.tailnet.is_some()) {
                    let users = chunks.iter().flat_map(|chunk| &chunk.users);
                    Self::AllBut(users.map(|user| user.id).collect())
                } else if snapshot.position.revision > 0 {
                    Self::Tailnet
                } else {
                    // Identity has never heard of it: a database that was lost is no reason to delete more.
                    Self::Users(BTreeSet::new())
                }
            }
            Update::Changes(changes, _) => {
                let mut gone = BTreeSet::new();
                for entry in changes.entries {
                    match entry.change {
                        Some(Change::UserDeleted(user)) => {
                            gone.insert(user);
                        }
                        Some(Change::TailnetDeleted(_)) => return Self::Tailnet,
                        _ => {}
                    }
                }
                Self::Users(gone)
            }
        }
    }

    fn includes_node(&self, node: &Node) -> bool {
        let user = node.owning_user();
        match self {
            Self::Users(users) => user.is_some_and(|user| users.contains(&user)),
            Self::AllBut(users) => user.is_some_and(|user| !users.contains(&user)),
            Self::Tailnet => true,
        }
    }
}

impl KeyRegistry {
    /// Notes who is suspended or gone, and lets be looked at what waited for somebody who is not any more.
    async fn apply_standing(
        &self,
        tailnet: TailnetId,
        heard: StandingUpdate,
    ) -> Result<(), RegistryError> {
        let (woken, _) = self
            .log
            .mutate(tailnet, "service:key-registry", move |mutation| {
                Box::pin(record_standing(mutation, heard))
            })
            .await?;
        if woken {
            self.due.notify_one();
        }
        Ok(())
    }

    async fn delete_orphans(
        &self,
        tailnet: TailnetId,
        ends: &DeletedOwners,
    ) -> Result<(), RegistryError> {
        let reader = self.log.database().reader();
        let candidates = match ends {
            DeletedOwners::Users(users) => {
                let mut found = Vec::new();
                for user in users {
                    found.extend(nodes::of_user(reader, tailnet.get(), *user).await?);
                }
                found
            }
            DeletedOwners::AllBut(_) | DeletedOwners::Tailnet => {
                nodes::of_tailnet(reader, tailnet.get()).await?
            }
        };
        for node in candidates
            .into_iter()
            .filter(|node| ends.includes_node(node))
        {
            let (user, is_all) = (node.user_id, *ends == DeletedOwners::Tailnet);
            let is_still = move |node: &Node, _: Option<&SoftRow>| {
                is_all || (node.tags.is_empty() && node.user_id == user)
            };
            self.remove_node(node, "node.orphaned", is_still).await?;
        }
        Ok(())
    }
}

/// Says whether something that waited is due now.
async fn record_standing(
    mutation: &mut Mutation,
    heard: StandingUpdate,
) -> Result<bool, RegistryError> {
    let (now, tailnet) = (mutation.now(), mutation.tailnet().get());
    let known = barred_users::applied_revision(mutation.connection(), tailnet).await?;
    let (changes, revision) = match heard {
        StandingUpdate::AllUsers {
            suspended,
            present,
            revision,
        } => {
            let barred = barred_users::of_tailnet(mutation.connection(), tailnet).await?;
            let owners = nodes::list_owners(mutation.connection(), tailnet).await?;
            let users: BTreeSet<u64> = barred
                .into_iter()
                .chain(owners)
                .chain(suspended.iter().copied())
                .collect();
            // A log that was lost says nothing of who is gone.
            let is_gone = |user: &u64| revision > 0 && !present.contains(user);
            let changes = users
                .into_iter()
                .map(|user| (user, suspended.contains(&user) || is_gone(&user)));
            (changes.collect::<Vec<_>>(), revision)
        }
        // Another replica may be ahead: what it noted is newer.
        StandingUpdate::SomeUsers { changes, revision } => {
            let newer = changes.into_iter().filter(|(at, ..)| *at > known);
            let changes = newer.map(|(_, user, is_barred)| (user, is_barred));
            (changes.collect(), revision.max(known))
        }
    };
    let mut differs = false;
    for (user, is_barred) in changes {
        differs |=
            barred_users::set_barred(mutation.connection(), tailnet, user, is_barred).await?;
    }
    if revision != known {
        barred_users::set_applied_revision(mutation.connection(), tailnet, revision).await?;
    }
    if !differs {
        return Ok(false);
    }
    // Another router takes over from one that is cut off.
    let moved = node_changes::elect_primaries(mutation).await?;
    if !moved.is_empty() {
        mutation.record_audit("routes.elect", "", &json!({ "nodes": moved }));
    }
    Ok(adoptions::wake_tailnet(mutation.connection(), tailnet, now).await?)
}

#[cfg(test)]
mod tests;
