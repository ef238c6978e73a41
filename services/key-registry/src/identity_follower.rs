//! Follows identity's log.
//!
//! Nodes of a user who is suspended or gone may not change anything of themselves until the user is back. When a user is
//! deleted, the nodes that belong to the user are deleted too, tagged ones excepted; with a tailnet go all its nodes. When a
//! user is merged into another, its nodes and keys are the other's.

mod first_nodes;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bowline_bus::Bus;
use bowline_change_feed::{Feed, IdentityLog, Update};
use bowline_db::{ChangeLog, DatabaseError, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::{identity::v1::identity_change::Change, key_registry::v1::Node};
use bowline_service_kit::{GrpcChannel, ServiceName, Tasks};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    actors::REGISTRY_ACTOR,
    adoption::Adoption,
    error::RegistryError,
    merged_users::{UserMerge, move_belongings},
    node_changes,
    removal::remove_node,
    rotations::{self, HeardRules},
    store::{adoptions, barred_users, nodes, soft_states::SoftRow},
};
use first_nodes::FirstNodes;

/// How often tailnets that have their first node are looked for, in case a hint of one was lost.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// A registration may have asked for its user just before the user was deleted. It is over after this time at the latest;
/// then the user's nodes are looked for once more.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Applies what identity's log says. Clones share it.
#[derive(Clone, Debug)]
pub struct IdentityFollower {
    log: ChangeLog,
    adoption: Adoption,
}

impl IdentityFollower {
    pub(crate) fn new(log: ChangeLog, adoption: Adoption) -> Self {
        Self { log, adoption }
    }

    /// Starts to follow every tailnet that has nodes.
    pub(crate) fn start(self, identity: GrpcChannel, bus: &Bus, tasks: &Tasks) {
        let feed = Feed::start(
            IdentityLog::new(identity),
            ServiceName::KeyRegistry,
            bus,
            tasks,
        );
        let first_nodes = FirstNodes::new(self.log.database().clone(), bus, POLL_INTERVAL);
        let following = self.follow_tailnets(feed, first_nodes, tasks.clone());
        tasks.spawn_background("follow-users", following);
    }

    async fn follow_tailnets(
        self,
        feed: Feed<IdentityLog>,
        mut first_nodes: FirstNodes,
        tasks: Tasks,
    ) {
        loop {
            for tailnet in first_nodes.next_tailnets().await {
                let following = self.clone().follow_tailnet(feed.clone(), tailnet);
                tasks.spawn_background("follow-users-of", following);
            }
        }
    }

    async fn follow_tailnet(self, feed: Feed<IdentityLog>, tailnet: TailnetId) {
        let mut follow = feed.follow_tailnet(tailnet);
        let mut epoch = self.log.database().watch_epoch();
        let mut again: VecDeque<(Instant, u64)> = VecDeque::new();
        loop {
            let due = again.front().map(|(due, _)| *due);
            let mut is_snapshot = false;
            let ends = tokio::select! {
                Ok(()) = epoch.changed() => {
                    // What was noted here of identity's log is lost with what came after it.
                    follow = feed.follow_tailnet(tailnet);
                    continue;
                }
                update = follow.next() => {
                    is_snapshot = matches!(update, Update::Snapshot(_));
                    let heard = HeardUpdate {
                        standing: StandingUpdate::from_update(&update),
                        rules: HeardRules::from_update(&update),
                    };
                    while let Err(error) = self.apply_update(tailnet, heard.clone()).await {
                        tracing::warn!(%error, %tailnet, "suspensions can not be noted yet");
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                    DeletedUsers::from_update(update)
                }
                () = sleep_until(due) => DeletedUsers::Users(again.pop_front().map(|(_, user)| user).into_iter().collect()),
            };
            while let Err(error) = self.delete_orphans(tailnet, &ends).await {
                tracing::warn!(%error, %tailnet, "nodes of deleted users can not be deleted yet");
                tokio::time::sleep(RETRY_DELAY).await;
            }
            if let DeletedUsers::Users(users) = ends
                && !is_snapshot
                && due.is_none_or(|due| due > Instant::now())
            {
                let due = Instant::now() + REGISTRATION_TIMEOUT;
                again.extend(users.into_iter().map(|user| (due, user)));
            }
        }
    }

    /// Records who is suspended or gone, and wakes the reports that waited for a user who is back; and how often keys have to
    /// be replaced.
    async fn apply_update(
        &self,
        tailnet: TailnetId,
        heard: HeardUpdate,
    ) -> Result<(), RegistryError> {
        let HeardUpdate { standing, rules } = heard;
        let (woken, _) = self
            .log
            .mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
                Box::pin(async move {
                    if let Some(rules) = &rules {
                        rotations::note_rules(mutation, rules).await?;
                    }
                    record_standing(mutation, standing).await
                })
            })
            .await?;
        if woken {
            self.adoption.wake();
        }
        Ok(())
    }

    async fn delete_orphans(
        &self,
        tailnet: TailnetId,
        ends: &DeletedUsers,
    ) -> Result<(), RegistryError> {
        if matches!(ends, DeletedUsers::Users(users) if users.is_empty()) {
            return Ok(());
        }
        let mut reader = self
            .log
            .database()
            .reader()
            .acquire()
            .await
            .map_err(DatabaseError::from)?;
        let candidates = match ends {
            DeletedUsers::Users(users) => {
                let owners = nodes::list_owners(&mut reader, tailnet.get()).await?;
                let mut found = Vec::new();
                for user in owners.iter().filter(|user| users.contains(user)) {
                    found.extend(nodes::of_user(&mut *reader, tailnet.get(), *user).await?);
                }
                found
            }
            DeletedUsers::Tailnet => nodes::of_tailnet(&mut *reader, tailnet.get()).await?,
        };
        drop(reader);
        for node in candidates
            .into_iter()
            .filter(|node| ends.includes_node(node))
        {
            let (user, is_all) = (node.user_id, *ends == DeletedUsers::Tailnet);
            let is_still = move |node: &Node, _: Option<&SoftRow>| {
                is_all || (node.tags.is_empty() && node.user_id == user)
            };
            remove_node(&self.log, node, "node.orphaned", is_still).await?;
        }
        Ok(())
    }
}

/// Waits for a moment, or for ever without one.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What identity's log says here.
#[derive(Clone, Debug)]
struct HeardUpdate {
    standing: StandingUpdate,
    rules: Option<HeardRules>,
}

/// What identity's log says of who is in good standing, and who is whom, up to a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StandingUpdate {
    /// Of all users; those it does not name are gone.
    AllUsers {
        merges: Vec<UserMerge>,
        suspended: BTreeSet<u64>,
        present: BTreeSet<u64>,
        revision: u64,
    },
    /// Of these, in order: the revision that says so, the user, and whether the user is suspended or gone.
    SomeUsers {
        merges: Vec<(u64, UserMerge)>,
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
                    merges: users().flat_map(UserMerge::list_of).collect(),
                    suspended: suspended.map(|user| user.id).collect(),
                    present: users().map(|user| user.id).collect(),
                    revision: snapshot.position.revision,
                }
            }
            Update::Changes(found, position) => {
                let numbered = (found.from_revision + 1..).zip(&found.entries);
                let (mut merges, mut changes) = (Vec::new(), Vec::new());
                for (revision, entry) in numbered {
                    match &entry.change {
                        Some(Change::User(user)) => {
                            let own = UserMerge::list_of(user);
                            merges.extend(own.map(|merge| (revision, merge)));
                            // A former number is nobody's: who registers by it has asked too early.
                            let former = user.former_ids.iter().map(|id| (revision, *id, true));
                            changes.extend(former);
                            changes.push((revision, user.id, user.suspended));
                        }
                        Some(Change::UserDeleted(user)) => changes.push((revision, *user, true)),
                        _ => {}
                    }
                }
                Self::SomeUsers {
                    merges,
                    changes,
                    revision: position.revision,
                }
            }
        }
    }
}

/// Whose nodes have to go.
#[derive(Debug, PartialEq, Eq)]
enum DeletedUsers {
    /// Those of these users.
    Users(BTreeSet<u64>),
    /// All: the tailnet is deleted.
    Tailnet,
}

impl DeletedUsers {
    fn from_update(update: Update<IdentityLog>) -> Self {
        match update {
            // Who is not there may be lost: only who is said to be deleted is.
            Update::Snapshot(snapshot) => {
                if snapshot.chunks.iter().any(|chunk| chunk.tailnet_deleted) {
                    return Self::Tailnet;
                }
                let deleted = snapshot
                    .chunks
                    .iter()
                    .flat_map(|chunk| &chunk.deleted_user_ids);
                Self::Users(deleted.copied().collect())
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
            Self::Tailnet => true,
        }
    }
}

/// Records what a log says of users; says whether a report that waited is due now.
async fn record_standing(
    mutation: &mut Mutation,
    heard: StandingUpdate,
) -> Result<bool, RegistryError> {
    let (now, tailnet) = (mutation.now(), mutation.tailnet().get());
    let known = barred_users::applied_revision(mutation.connection(), tailnet).await?;
    let mut differs = false;
    let (changes, revision) = match heard {
        StandingUpdate::AllUsers {
            merges,
            suspended,
            present,
            revision,
        } => {
            // Before anybody is found to be gone.
            for merge in &merges {
                differs |= move_belongings(mutation, merge).await?;
            }
            let former = merges.iter().map(|merge| merge.former_id);
            let barred = barred_users::of_tailnet(mutation.connection(), tailnet).await?;
            let owners = nodes::list_owners(mutation.connection(), tailnet).await?;
            let users: BTreeSet<u64> = barred
                .into_iter()
                .chain(owners)
                .chain(former)
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
        StandingUpdate::SomeUsers {
            merges,
            changes,
            revision,
        } => {
            for (_, merge) in merges.iter().filter(|(at, _)| *at > known) {
                differs |= move_belongings(mutation, merge).await?;
            }
            let newer = changes.into_iter().filter(|(at, ..)| *at > known);
            let changes = newer.map(|(_, user, is_barred)| (user, is_barred));
            (changes.collect(), revision.max(known))
        }
    };
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
    // Where the primary router of a route is cut off with its user, another takes over.
    let moved = node_changes::elect_primaries(mutation).await?;
    if !moved.is_empty() {
        mutation.record_audit("routes.elect", "", &json!({ "nodes": moved }));
    }
    Ok(adoptions::wake_tailnet(mutation.connection(), tailnet, now).await?)
}

#[cfg(test)]
mod tests;
