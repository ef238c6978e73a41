//! Knows the head of each followed tailnet, from hints and from asking once a second.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bowline_bus::{Bus, Event, Subscription};
use bowline_ids::TailnetId;
use bowline_service_kit::{ServiceName, Tasks};
use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};

use crate::{LogSource, OutageWatch, Position, TailnetFollower, lag::FollowerLag};

/// How often the heads are asked for: what a lost hint costs at most.
const HEADS_INTERVAL: Duration = Duration::from_secs(1);
/// A cap on one `Heads` request, as the contract has it.
const HEADS_PER_REQUEST: usize = 10_000;

/// One owner's log, for any number of tailnets. Cheap to clone.
#[derive(Debug)]
pub struct Feed<S> {
    source: S,
    heads: Arc<Heads>,
    outage: Arc<OutageWatch>,
}

impl<S: Clone> Clone for Feed<S> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            heads: Arc::clone(&self.heads),
            outage: Arc::clone(&self.outage),
        }
    }
}

impl<S: LogSource> Feed<S> {
    /// Starts to listen to the bus and to ask for heads, for a service; ends with the tasks.
    pub fn start(source: S, follower: ServiceName, bus: &Bus, tasks: &Tasks) -> Self {
        let (contact, _) = watch::channel(None);
        let heads = Arc::new(Heads {
            followed: Mutex::default(),
            contact,
        });
        let outage = Arc::<OutageWatch>::default();
        let subscription = bus.subscribe(&[S::OWNER]);
        let asked = HeadSource {
            source: source.clone(),
            follower,
            outage: Arc::clone(&outage),
        };
        let watching = watch_heads(
            asked,
            Arc::downgrade(&heads),
            HeldSubscription {
                _bus: bus.clone(),
                subscription,
            },
        );
        tasks.spawn_background("change-feed", watching);
        Self {
            source,
            heads,
            outage,
        }
    }

    /// Follows one tailnet: the first update is a snapshot.
    #[must_use]
    pub fn follow_tailnet(&self, tailnet: TailnetId) -> TailnetFollower<S> {
        TailnetFollower::new(
            self.source.clone(),
            tailnet,
            self.heads.subscribe_head(tailnet),
            Arc::clone(&self.outage),
        )
    }

    /// Says that the owner's log of this tailnet has at least this head, without waiting for the bus.
    pub fn note_head(&self, tailnet: TailnetId, head: Position) {
        self.heads.note_hint(tailnet, head);
    }

    /// Follows when the owner last answered: `None` before the first time.
    #[must_use]
    pub fn watch_contact(&self) -> watch::Receiver<Option<Instant>> {
        self.heads.contact.subscribe()
    }
}

/// What is known of the head of a tailnet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownHead {
    head: Position,
    /// When the owner was asked that answered this; `None` for what only a hint said.
    asked_at: Option<time::Instant>,
}

impl KnownHead {
    /// Says whether a follower that reached a position then has to look again: the head is ahead of it, or the owner
    /// says, asked after that, that it is not there, because it was put back to an older state.
    pub(crate) fn needs_look(&self, position: Position, reached_at: time::Instant) -> bool {
        let is_asked_later = self.asked_at.is_some_and(|asked_at| asked_at > reached_at);
        position.is_behind(self.head) || (is_asked_later && self.head.is_behind(position))
    }
}

/// The newest known head of each followed tailnet.
#[derive(Debug)]
struct Heads {
    followed: Mutex<BTreeMap<TailnetId, FollowedTailnet>>,
    contact: watch::Sender<Option<Instant>>,
}

/// A tailnet that somebody follows.
#[derive(Debug)]
struct FollowedTailnet {
    known: watch::Sender<KnownHead>,
    lag: Arc<FollowerLag>,
}

/// What a follower is given of its tailnet.
#[derive(Debug)]
pub(crate) struct FollowedHead {
    pub(crate) head: watch::Receiver<KnownHead>,
    pub(crate) lag: Arc<FollowerLag>,
}

impl Heads {
    fn subscribe_head(&self, tailnet: TailnetId) -> FollowedHead {
        let mut followed = self.followed.lock();
        let tailnet = followed.entry(tailnet).or_insert_with(|| FollowedTailnet {
            known: watch::channel(KnownHead::default()).0,
            lag: Arc::new(FollowerLag::new(time::Instant::now())),
        });
        FollowedHead {
            head: tailnet.known.subscribe(),
            lag: Arc::clone(&tailnet.lag),
        }
    }

    /// Returns how far those are behind that are it most: for how long, and by how many revisions.
    fn measure_lag(&self, now: time::Instant) -> (Duration, u64) {
        let followed = self.followed.lock();
        let live = followed
            .values()
            .filter(|tailnet| tailnet.known.receiver_count() > 0);
        live.map(|tailnet| tailnet.lag.measure(now))
            .fold(Default::default(), |most: (Duration, u64), lag| {
                (most.0.max(lag.0), most.1.max(lag.1))
            })
    }

    /// Notes what a hint says, when it is more than what is known.
    fn note_hint(&self, tailnet: TailnetId, head: Position) {
        let followed = self.followed.lock();
        if let Some(FollowedTailnet { known, .. }) = followed.get(&tailnet) {
            known.send_if_modified(|known| {
                let is_news = known.head.is_behind(head);
                if is_news {
                    let head = known.head.or_later(head);
                    let asked_at = None;
                    *known = KnownHead { head, asked_at };
                }
                is_news
            });
        }
    }

    /// Notes what the owner answered when it was asked at a time with that head known. It is the truth of then: what a
    /// hint said before may have been forged, what it said since may be newer.
    fn note_answer(&self, asked: HeadQuestion, asked_at: time::Instant, head: Position) {
        let followed = self.followed.lock();
        if let Some(FollowedTailnet { known, lag }) = followed.get(&asked.tailnet) {
            lag.note_head(head, asked_at);
            known.send_modify(|known| {
                known.head = match known.head == asked.known {
                    true => head,
                    false => known.head.or_later(head),
                };
                known.asked_at = Some(asked_at).filter(|_| known.head == head);
            });
        }
    }

    /// Returns the tailnets somebody follows, and forgets the others.
    fn collect_followed(&self) -> Vec<HeadQuestion> {
        let mut followed = self.followed.lock();
        followed.retain(|_, tailnet| tailnet.known.receiver_count() > 0);
        let asked = |(&tailnet, followed): (&TailnetId, &FollowedTailnet)| HeadQuestion {
            tailnet,
            known: followed.known.borrow().head,
        };
        followed.iter().map(asked).collect()
    }
}

/// A tailnet whose head is asked for, and the head known before.
#[derive(Clone, Copy, Debug)]
struct HeadQuestion {
    tailnet: TailnetId,
    known: Position,
}

/// A subscription with its bus: it ends with the last who holds that.
struct HeldSubscription {
    _bus: Bus,
    subscription: Subscription,
}

/// Whom heads are asked of, and whether that fails.
#[derive(Clone)]
struct HeadSource<S> {
    source: S,
    follower: ServiceName,
    outage: Arc<OutageWatch>,
}

/// Keeps the heads up to date.
async fn watch_heads<S: LogSource>(
    source: HeadSource<S>,
    heads: Weak<Heads>,
    mut held: HeldSubscription,
) {
    let mut ticks = tokio::time::interval(HEADS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Heads are asked for beside the hints: an owner that hangs holds up nothing that others say.
    let mut asking: Option<BoxFuture<'static, ()>> = None;
    loop {
        let event = tokio::select! {
            event = held.subscription.next() => match event {
                Some(event) => event,
                None => return,
            },
            () = wait_for_answer(&mut asking) => {
                asking = None;
                continue;
            }
            _ = ticks.tick() => Event::Gap(S::OWNER),
        };
        let Some(heads) = heads.upgrade() else { return };
        if matches!(event, Event::Gap(_)) {
            tell_lag::<S>(source.follower, &heads);
        }
        match event {
            Event::Hint(_, hint) => {
                let head = Position {
                    revision: hint.revision.get(),
                    soft_revision: hint.soft_revision,
                };
                heads.note_hint(hint.tailnet, head);
            }
            Event::Gap(_) if asking.is_none() => {
                asking = Some(ask_heads(source.clone(), heads).boxed())
            }
            Event::Gap(_) => {}
        }
    }
}

/// Tells how far the followers are behind.
fn tell_lag<S: LogSource>(follower: ServiceName, heads: &Heads) {
    let (time, revisions) = heads.measure_lag(time::Instant::now());
    let (follower, owner) = (follower.as_str(), S::OWNER.name());
    #[expect(clippy::cast_precision_loss, reason = "a metric may be rounded")]
    let revisions = revisions as f64;
    metrics::gauge!("bowline_change_feed_lag_seconds", "follower" => follower, "owner" => owner)
        .set(time.as_secs_f64());
    metrics::gauge!("bowline_change_feed_lag_revisions", "follower" => follower, "owner" => owner)
        .set(revisions);
}

/// Waits for what is asked, or for ever without it.
async fn wait_for_answer(asking: &mut Option<BoxFuture<'static, ()>>) {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

async fn ask_heads<S: LogSource>(asked: HeadSource<S>, heads: Arc<Heads>) {
    let HeadSource { source, outage, .. } = asked;
    let tailnets = heads.collect_followed();
    for some in tailnets.chunks(HEADS_PER_REQUEST) {
        let asked_at = time::Instant::now();
        match source
            .fetch_heads(some.iter().map(|asked| asked.tailnet.get()).collect())
            .await
        {
            Ok(answer) => {
                for (asked, head) in some.iter().zip(answer) {
                    let head = Position {
                        revision: head.revision,
                        soft_revision: head.soft_revision,
                    };
                    heads.note_answer(*asked, asked_at, head);
                }
            }
            Err(status) => {
                let owner = S::OWNER;
                if outage.note_failure(None, time::Instant::now().into_std()) {
                    tracing::warn!(?owner, %status, "changes can not be asked for: what is shown is old until they can");
                } else {
                    tracing::debug!(?owner, %status, "heads can not be fetched");
                }
                return;
            }
        }
    }
    if outage.note_success(None) {
        tracing::info!(owner = ?S::OWNER, "changes can be asked for again");
    }
    if !tailnets.is_empty() {
        heads
            .contact
            .send_replace(Some(time::Instant::now().into_std()));
    }
}

#[cfg(test)]
mod tests;
