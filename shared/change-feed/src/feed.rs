//! Knows the head of each followed tailnet, from hints and from asking once a second.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use bowline_bus::{Bus, Event, Subscription};
use bowline_ids::TailnetId;
use bowline_service_kit::Tasks;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{Follow, Position, Source};

/// How often the heads are asked for: what a lost hint costs at most.
const HEADS_INTERVAL: Duration = Duration::from_secs(1);
/// A cap on one `Heads` request, as the contract has it.
const HEADS_PER_REQUEST: usize = 10_000;

/// One owner's log, for any number of tailnets. Cheap to clone.
#[derive(Debug)]
pub struct Feed<S> {
    source: S,
    heads: Arc<Heads>,
}

impl<S: Clone> Clone for Feed<S> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            heads: Arc::clone(&self.heads),
        }
    }
}

impl<S: Source> Feed<S> {
    /// Starts to listen to the bus and to ask for heads; ends with the tasks.
    pub fn start(source: S, bus: &Bus, tasks: &Tasks) -> Self {
        let (contact, _) = watch::channel(None);
        let heads = Arc::new(Heads {
            followed: Mutex::default(),
            contact,
        });
        let subscription = bus.subscribe(&[S::OWNER]);
        let watching = watch_heads(
            source.clone(),
            Arc::downgrade(&heads),
            (bus.clone(), subscription),
        );
        tasks.background("change-feed", watching);
        Self { source, heads }
    }

    /// Follows one tailnet: the first update is a snapshot.
    #[must_use]
    pub fn follow(&self, tailnet: TailnetId) -> Follow<S> {
        Follow::new(self.source.clone(), tailnet, self.heads.receiver(tailnet))
    }

    /// Says that the owner's log of this tailnet has at least this head, without waiting for the bus.
    pub fn hint(&self, tailnet: TailnetId, head: Position) {
        self.heads.advance(tailnet, head);
    }

    /// Follows when the owner last answered: `None` before the first time.
    #[must_use]
    pub fn contact(&self) -> watch::Receiver<Option<Instant>> {
        self.heads.contact.subscribe()
    }
}

/// The newest known head of each followed tailnet.
#[derive(Debug)]
struct Heads {
    followed: Mutex<BTreeMap<TailnetId, watch::Sender<Position>>>,
    contact: watch::Sender<Option<Instant>>,
}

impl Heads {
    fn receiver(&self, tailnet: TailnetId) -> watch::Receiver<Position> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed
            .entry(tailnet)
            .or_insert_with(|| watch::channel(Position::default()).0)
            .subscribe()
    }

    fn advance(&self, tailnet: TailnetId, head: Position) {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = followed.get(&tailnet) {
            known.send_if_modified(|known| {
                let behind = known.is_behind(head);
                known.revision = known.revision.max(head.revision);
                known.soft_revision = known.soft_revision.max(head.soft_revision);
                behind
            });
        }
    }

    /// Returns the tailnets somebody follows, and forgets the others.
    fn tailnets(&self) -> Vec<TailnetId> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|_, head| head.receiver_count() > 0);
        followed.keys().copied().collect()
    }
}

/// Keeps the heads up to date. It holds the bus: a subscription ends with the last who does.
async fn watch_heads<S: Source>(
    source: S,
    heads: Weak<Heads>,
    (_bus, mut subscription): (Bus, Subscription),
) {
    let mut ticks = tokio::time::interval(HEADS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Heads are asked for beside the hints: an owner that hangs holds up nothing that others say.
    let mut asking: Option<BoxFuture<'static, ()>> = None;
    loop {
        let event = tokio::select! {
            event = subscription.next() => match event {
                Some(event) => event,
                None => return,
            },
            () = finished(&mut asking) => {
                asking = None;
                continue;
            }
            _ = ticks.tick() => Event::Gap(S::OWNER),
        };
        let Some(heads) = heads.upgrade() else { return };
        match event {
            Event::Hint(_, hint) => {
                let head = Position {
                    revision: hint.revision.get(),
                    soft_revision: hint.soft_revision,
                };
                heads.advance(hint.tailnet, head);
            }
            Event::Gap(_) if asking.is_none() => asking = Some(ask(source.clone(), heads).boxed()),
            Event::Gap(_) => {}
        }
    }
}

/// Waits for what is asked, or for ever without it.
async fn finished(asking: &mut Option<BoxFuture<'static, ()>>) {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

async fn ask<S: Source>(source: S, heads: Arc<Heads>) {
    let tailnets = heads.tailnets();
    for some in tailnets.chunks(HEADS_PER_REQUEST) {
        match source
            .heads(some.iter().map(|tailnet| tailnet.get()).collect())
            .await
        {
            Ok(answer) => {
                for (tailnet, head) in some.iter().zip(answer) {
                    let head = Position {
                        revision: head.revision,
                        soft_revision: head.soft_revision,
                    };
                    heads.advance(*tailnet, head);
                }
            }
            Err(status) => {
                tracing::debug!(owner = ?S::OWNER, %status, "heads are not to be had");
                return;
            }
        }
    }
    if !tailnets.is_empty() {
        heads.contact.send_replace(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bowline_bus::{Hint, Owner};
    use bowline_ids::Revision;
    use bowline_proto::changes::v1::Head;
    use bowline_service_kit::Shutdown;
    use tokio::sync::Semaphore;
    use tonic::Status;

    use super::*;
    use crate::{Fetched, Snapshot, Update};

    /// An owner that answers all but a question for heads.
    #[derive(Clone)]
    struct Hanging(Arc<Semaphore>);

    #[async_trait]
    impl Source for Hanging {
        const OWNER: Owner = Owner::KeyRegistry;
        type Changes = ();
        type Chunk = ();

        async fn heads(&self, _: Vec<u64>) -> Result<Vec<Head>, Status> {
            self.0.add_permits(1);
            std::future::pending().await
        }

        async fn changes_since(
            &self,
            _: TailnetId,
            position: Position,
        ) -> Result<Fetched<()>, Status> {
            let position = Position {
                revision: position.revision + 1,
                ..position
            };
            Ok(Fetched::Changes((), position))
        }

        async fn snapshot(&self, _: TailnetId) -> Result<Snapshot<()>, Status> {
            Ok(Snapshot {
                chunks: Vec::new(),
                position: Position::default(),
            })
        }
    }

    #[tokio::test]
    async fn hints_arrive_while_the_owner_hangs() {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, tailnet) = (Bus::in_process(), TailnetId::try_from(1_u64).unwrap());
        let asked = Arc::new(Semaphore::new(0));
        let feed = Feed::start(Hanging(Arc::clone(&asked)), &bus, &tasks);
        let mut follow = feed.follow(tailnet);
        assert!(matches!(follow.next().await, Update::Snapshot(_)));
        asked.acquire().await.unwrap().forget();
        let hint = Hint {
            tailnet,
            revision: Revision::new(1),
            soft_revision: 0,
        };
        bus.publish(Owner::KeyRegistry, hint);
        let update = tokio::time::timeout(Duration::from_secs(20), follow.next()).await;
        assert!(matches!(update.unwrap(), Update::Changes((), reached) if reached.revision == 1));
    }
}
