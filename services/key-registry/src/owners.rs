//! Follows identity's log: the nodes of a deleted user go with the user.

use std::{collections::BTreeSet, time::Duration};

use bowline_bus::Bus;
use bowline_change_feed::{Feed, Identity, Update};
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::identity_change::Change;
use bowline_service_kit::Tasks;

use crate::{KeyRegistry, error::RegistryError, store::nodes};

/// How soon a tailnet with its first node is followed.
const LOOK: Duration = Duration::from_secs(2);
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
    loop {
        let update = follow.next().await;
        while let Err(error) = registry.apply_owners(tailnet, &update).await {
            tracing::warn!(%error, %tailnet, "nodes of deleted users can not be deleted yet");
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl KeyRegistry {
    async fn apply_owners(
        &self,
        tailnet: TailnetId,
        update: &Update<Identity>,
    ) -> Result<(), RegistryError> {
        let reader = self.log.database().reader();
        let orphans = match update {
            Update::Snapshot(snapshot) => {
                let users: BTreeSet<u64> = snapshot
                    .chunks
                    .iter()
                    .flat_map(|chunk| &chunk.users)
                    .map(|user| user.id)
                    .collect();
                let nodes = nodes::of_tailnet(reader, tailnet.get()).await?;
                nodes
                    .into_iter()
                    .filter(|node| !users.contains(&node.user_id))
                    .collect()
            }
            Update::Changes(changes, _) => {
                let mut orphans = Vec::new();
                for entry in &changes.entries {
                    if let Some(Change::UserDeleted(user)) = entry.change {
                        orphans.extend(nodes::of_user(reader, tailnet.get(), user).await?);
                    }
                }
                orphans
            }
        };
        for node in orphans
            .into_iter()
            .filter(|node| node.tags.is_empty() && node.user_id != 0)
        {
            self.remove(node, "node.orphaned").await?;
        }
        Ok(())
    }
}
