//! One tailnet of one owner, read in order.

use std::{sync::Arc, time::Duration};

use bowline_ids::TailnetId;
use tokio::{sync::watch, time::Instant};
use tonic::Status;

use crate::{
    Fetched, LogSource, OutageWatch, Position, Snapshot,
    feed::{FollowedHead, KnownHead},
    lag::FollowerLag,
};

/// The first pause after a failure; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a follower applies next.
#[derive(Debug)]
pub enum Update<S: LogSource> {
    /// Everything: replaces what the follower has.
    Snapshot(Snapshot<S::Chunk>),
    /// The entries after the follower's position, and the position they lead to.
    Changes(S::Changes, Position),
}

/// Reads one tailnet of one owner in order, first as a snapshot.
///
/// Pull-based: nothing is read ahead of the follower, and one request is under way at a time.
#[derive(Debug)]
pub struct TailnetFollower<S> {
    source: S,
    tailnet: TailnetId,
    head: watch::Receiver<KnownHead>,
    position: Option<Position>,
    reached_at: Instant,
    lag: Arc<FollowerLag>,
    outage: Arc<OutageWatch>,
}

impl<S: LogSource> TailnetFollower<S> {
    pub(crate) fn new(
        source: S,
        tailnet: TailnetId,
        followed: FollowedHead,
        outage: Arc<OutageWatch>,
    ) -> Self {
        Self {
            source,
            tailnet,
            head: followed.head,
            lag: followed.lag,
            position: None,
            reached_at: Instant::now(),
            outage,
        }
    }

    fn set_position(&mut self, position: Position) {
        self.lag.note_position(position);
        self.position = Some(position);
        self.reached_at = Instant::now();
    }

    /// Returns the next update; waits while there is none, and tries again while the owner can not be reached.
    pub async fn next(&mut self) -> Update<S> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_next().await {
                Ok(Some(update)) => {
                    self.note_success();
                    return update;
                }
                Ok(None) => {
                    self.note_success();
                    pause = FIRST_PAUSE;
                }
                Err(status) => {
                    metrics::counter!("bowline_change_feed_failures_total").increment(1);
                    self.note_failure(&status);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn note_failure(&self, status: &Status) {
        let (owner, tailnet) = (S::OWNER, self.tailnet);
        if self
            .outage
            .note_failure(Some(tailnet), Instant::now().into_std())
        {
            tracing::warn!(
                ?owner, %tailnet, %status,
                "changes can not be fetched, of this tailnet and maybe others: what is shown is old until they can"
            );
        } else {
            tracing::debug!(?owner, %tailnet, %status, "changes can not be fetched");
        }
    }

    fn note_success(&self) {
        if self.outage.note_success(Some(self.tailnet)) {
            tracing::info!(owner = ?S::OWNER, "changes are fetched again");
        }
    }

    async fn try_next(&mut self) -> Result<Option<Update<S>>, Status> {
        let Some(position) = self.position else {
            let snapshot = self.source.fetch_snapshot(self.tailnet).await?;
            self.set_position(snapshot.position);
            return Ok(Some(Update::Snapshot(snapshot)));
        };
        let reached_at = self.reached_at;
        self.head
            .wait_for(|known| known.needs_look(position, reached_at))
            .await
            .map_err(|_| Status::unavailable("the feed has ended"))?;
        match self.source.fetch_changes(self.tailnet, position).await? {
            Fetched::Compacted => self.position = None,
            Fetched::Changes(_, reached) if reached == position => {
                // The head is ahead of what the owner gives: a replica that lags, or a forged hint. The next
                // word about the head, or the next second, decides.
                let _ = tokio::time::timeout(LONGEST_PAUSE, self.head.changed()).await;
            }
            Fetched::Changes(changes, reached) => {
                self.set_position(reached);
                return Ok(Some(Update::Changes(changes, reached)));
            }
        }
        Ok(None)
    }
}

impl<S> Drop for TailnetFollower<S> {
    fn drop(&mut self) {
        // What is tried no more does not fail.
        let _ = self.outage.note_success(Some(self.tailnet));
    }
}

#[cfg(test)]
mod tests;
