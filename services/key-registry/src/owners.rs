//! Follows identity's log: the nodes of a deleted user go with the user, those of a deleted tailnet with it.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bowline_bus::Bus;
use bowline_change_feed::{Feed, Identity, Update};
use bowline_ids::TailnetId;
use bowline_proto::{identity::v1::identity_change::Change, key_registry::v1::Node};
use bowline_service_kit::Tasks;
use tokio::time::Instant;

use crate::{
    KeyRegistry,
    error::RegistryError,
    store::{nodes, soft_states::SoftRow},
};

/// How soon a tailnet with its first node is followed.
const LOOK: Duration = Duration::from_secs(2);
/// How long a registration may be under way that has asked for its user before the user was deleted.
const UNDER_WAY: Duration = Duration::from_secs(30);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Follows every tailnet that has nodes.
pub fn follow(registry: &KeyRegistry, bus: &Bus, tasks: &Tasks) {
    let feed = Feed::start(Identity::new(registry.peers.identity.clone()), bus, tasks);
    tasks.background(
        "follow-owners",
        watch(registry.clone(), feed, tasks.clone()),
    );
}

async fn watch(registry: KeyRegistry, feed: Feed<Identity>, tasks: Tasks) {
    let mut followed = BTreeSet::new();
    loop {
        let tailnets = nodes::tailnets(registry.log.database().reader())
            .await
            .unwrap_or_default();
        for tailnet in tailnets
            .into_iter()
            .filter_map(|id| TailnetId::try_from(id).ok())
        {
            if followed.insert(tailnet) {
                let following = follow_one(registry.clone(), feed.clone(), tailnet);
                tasks.background("follow-owners-of", following);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn follow_one(registry: KeyRegistry, feed: Feed<Identity>, tailnet: TailnetId) {
    let mut follow = feed.follow(tailnet);
    let mut again: VecDeque<(Instant, u64)> = VecDeque::new();
    loop {
        let due = again.front().map(|(due, _)| *due);
        let ends = tokio::select! {
            update = follow.next() => Ends::of(update),
            () = sleep_until(due) => Ends::Users(again.pop_front().map(|(_, user)| user).into_iter().collect()),
        };
        while let Err(error) = registry.apply_ends(tailnet, &ends).await {
            tracing::warn!(%error, %tailnet, "nodes of deleted users can not be deleted yet");
            tokio::time::sleep(RETRY).await;
        }
        if let Ends::Users(users) = ends
            && due.is_none_or(|due| due > Instant::now())
        {
            let due = Instant::now() + UNDER_WAY;
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

/// Whose nodes have to go.
#[derive(Debug, PartialEq, Eq)]
enum Ends {
    /// Those of these users.
    Users(BTreeSet<u64>),
    /// Those of all users but these.
    AllBut(BTreeSet<u64>),
    /// All: the tailnet is deleted.
    Tailnet,
}

impl Ends {
    fn of(update: Update<Identity>) -> Self {
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

    fn includes(&self, node: &Node) -> bool {
        let is_owned = node.tags.is_empty() && node.user_id != 0;
        match self {
            Self::Users(users) => is_owned && users.contains(&node.user_id),
            Self::AllBut(users) => is_owned && !users.contains(&node.user_id),
            Self::Tailnet => true,
        }
    }
}

impl KeyRegistry {
    async fn apply_ends(&self, tailnet: TailnetId, ends: &Ends) -> Result<(), RegistryError> {
        let reader = self.log.database().reader();
        let candidates = match ends {
            Ends::Users(users) => {
                let mut found = Vec::new();
                for user in users {
                    found.extend(nodes::of_user(reader, tailnet.get(), *user).await?);
                }
                found
            }
            Ends::AllBut(_) | Ends::Tailnet => nodes::of_tailnet(reader, tailnet.get()).await?,
        };
        for node in candidates.into_iter().filter(|node| ends.includes(node)) {
            let (user, is_all) = (node.user_id, *ends == Ends::Tailnet);
            let is_still = move |node: &Node, _: Option<&SoftRow>| {
                is_all || (node.tags.is_empty() && node.user_id == user)
            };
            self.remove(node, "node.orphaned", is_still).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bowline_change_feed::{Position, Snapshot};
    use bowline_proto::identity::v1::{IdentitySnapshot, Tailnet, User};

    use super::*;

    fn snapshot(tailnet: Option<Tailnet>, revision: u64) -> Update<Identity> {
        let user = User {
            id: 7,
            ..User::default()
        };
        Update::Snapshot(Snapshot {
            chunks: vec![IdentitySnapshot {
                tailnet,
                users: vec![user],
                ..IdentitySnapshot::default()
            }],
            position: Position {
                revision,
                soft_revision: 0,
            },
        })
    }

    #[test]
    fn only_what_identity_says_is_gone_goes() {
        let node = |user_id, tags: &[&str]| Node {
            user_id,
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..Node::default()
        };
        let known = Ends::of(snapshot(Some(Tailnet::default()), 3));
        assert!(known.includes(&node(8, &[])) && !known.includes(&node(7, &[])));
        assert!(!known.includes(&node(8, &["tag:a"])));
        assert!(Ends::of(snapshot(None, 3)).includes(&node(8, &["tag:a"])));
        let lost = Ends::of(snapshot(None, 0));
        assert!(!lost.includes(&node(8, &[])) && !lost.includes(&node(8, &["tag:a"])));
    }
}
