//! Finds tailnets that have their first node: a hint says that a log has grown, and now and then all are looked at.

use std::{collections::BTreeSet, time::Duration};

use bowline_bus::{Bus, Event, LogOwner, Subscription};
use bowline_db::{Database, DatabaseError};
use bowline_ids::TailnetId;
use tokio::time::{Interval, MissedTickBehavior};

use crate::store::tailnets;

/// Finds tailnets that have their first node.
pub(super) struct FirstNodes {
    database: Database,
    hints: Subscription,
    looks: Interval,
    /// Those that were found to have nodes.
    known: BTreeSet<TailnetId>,
}

/// Why it is looked for tailnets.
enum LookOccasion {
    /// The log of this one has grown.
    Hint(TailnetId),
    /// It is time to look at all.
    Time,
}

impl FirstNodes {
    /// Looks at all tailnets at once, and every so often in case a hint was lost.
    pub(super) fn new(database: Database, bus: &Bus, look_interval: Duration) -> Self {
        let mut looks = tokio::time::interval(look_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            database,
            hints: bus.subscribe(&[LogOwner::KeyRegistry]),
            looks,
            known: BTreeSet::new(),
        }
    }

    /// Waits for tailnets that have nodes and were not returned before.
    pub(super) async fn next_tailnets(&mut self) -> Vec<TailnetId> {
        loop {
            let occasion = self.next_occasion().await;
            match list_with_nodes(&self.database, occasion).await {
                Ok(mut found) => {
                    found.retain(|tailnet| self.known.insert(*tailnet));
                    if !found.is_empty() {
                        return found;
                    }
                }
                Err(error) => tracing::debug!(%error, "tailnets with nodes can not be listed yet"),
            }
        }
    }

    async fn next_occasion(&mut self) -> LookOccasion {
        loop {
            tokio::select! {
                Some(event) = self.hints.next() => match event {
                    Event::Hint(_, hint) if self.known.contains(&hint.tailnet) => {}
                    Event::Hint(_, hint) => return LookOccasion::Hint(hint.tailnet),
                    Event::Gap(_) => return LookOccasion::Time,
                },
                _ = self.looks.tick() => return LookOccasion::Time,
            }
        }
    }
}

/// Returns which tailnets have nodes, of those that an occasion is about.
async fn list_with_nodes(
    database: &Database,
    occasion: LookOccasion,
) -> Result<Vec<TailnetId>, DatabaseError> {
    let reader = database.reader();
    match occasion {
        LookOccasion::Hint(tailnet) => {
            let has_nodes = tailnets::has_nodes(reader, tailnet.get()).await?;
            Ok(has_nodes.then_some(tailnet).into_iter().collect())
        }
        LookOccasion::Time => {
            let found = tailnets::list_with_nodes(reader).await?.into_iter();
            Ok(found
                .filter_map(|id| TailnetId::try_from(id).ok())
                .collect())
        }
    }
}

#[cfg(test)]
mod tests;
