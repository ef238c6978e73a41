//! Makes events of what is new in the audit trails.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bowline_db::{AuditEntry, ChangeLog};
use futures_util::{StreamExt as _, stream};
use tokio::time::MissedTickBehavior;

use super::{signal::EventSignal, trails::TrailReader};
use crate::{
    domain::webhook::{TrailOwner, events_of_entry, is_subscribed},
    error::IdentityError,
    store::{
        self,
        webhook_cursors::{self, TrailCursor},
        webhook_events::{self, TrailPlace},
        webhooks,
    },
};

/// How often it is looked for new entries.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Which looks are thorough: the first, and one in five minutes.
const THOROUGH: u64 = 300;
/// How many tailnets are asked about at once, and of how many at once entries are read.
const TAILNETS: i64 = 500;
const AT_ONCE: usize = 8;
/// How many entries of a tailnet are read in one round: then others have theirs.
const ENTRIES: u32 = 200;
/// How many entries before those are read once more: what belongs to one change may lie there.
const LOOK_BACK: u64 = 8;
/// After how many events the transaction ends, once an entry's are written.
const MOST_QUEUED: usize = 1000;
/// After how many events above the limit of a webhook the oldest are forgotten.
const FORGET_AFTER: u64 = 1000;

/// Makes events until the process ends. Every replica does; the cursor moves once.
#[derive(Debug)]
pub struct EventCollector {
    log: ChangeLog,
    trails: TrailReader,
    events: EventSignal,
    /// How many events of a webhook found no place since the oldest were forgotten.
    overflowing: Mutex<BTreeMap<u64, u64>>,
}

/// What is new in a trail.
#[derive(Debug)]
struct NewEntries {
    /// Entries before the cursor, which were read.
    before: usize,
    entries: Vec<AuditEntry>,
}

/// What one commit did.
#[derive(Debug, Default)]
struct QueuedRound {
    /// How many of the new entries were read.
    entries: usize,
    /// How many events were written.
    written: usize,
    /// How many events found no place, by webhook.
    overflowing: BTreeMap<u64, u64>,
}

impl EventCollector {
    pub(crate) fn new(log: ChangeLog, trails: TrailReader, events: EventSignal) -> Self {
        Self {
            log,
            trails,
            events,
            overflowing: Mutex::default(),
        }
    }

    /// Follows all trails. One that can not be read holds up no other.
    pub(crate) async fn run(self) {
        let following = self.trails.owners().into_iter();
        let following = following.map(|owner| self.follow_trails(owner));
        futures_util::future::join_all(following).await;
    }

    async fn follow_trails(&self, owner: TrailOwner) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0;
        loop {
            ticks.tick().await;
            let is_thorough = looks % THOROUGH == 0;
            match self.look_at_trails(owner, is_thorough).await {
                Ok(()) => looks += 1,
                Err(error) => {
                    let owner = owner.as_str();
                    tracing::warn!(owner, %error, "events for webhooks wait: an audit trail can not be read");
                }
            }
        }
    }

    /// Makes events of what is new, in rounds: each tailnet has a bounded part of one. A thorough look finds trails that have
    /// another end of the same length, and tailnets whose trail is not followed yet.
    async fn look_at_trails(
        &self,
        owner: TrailOwner,
        is_thorough: bool,
    ) -> Result<(), IdentityError> {
        if is_thorough {
            self.begin_cursors(owner).await?;
        }
        let mut after = 0;
        loop {
            let reader = self.log.database().reader();
            let name = owner.as_str();
            let cursors = webhook_cursors::list_cursors(reader, name, after, TAILNETS).await?;
            let Some(last) = cursors.last() else {
                return Ok(());
            };
            after = last.tailnet_id;
            let tailnets = cursors.iter().map(|cursor| cursor.tailnet_id).collect();
            let heads = self.trails.list_heads(owner, tailnets).await?.heads;
            let heads: BTreeMap<_, _> = heads
                .iter()
                .map(|head| (head.tailnet_id, head.sequence))
                .collect();
            let news = cursors.into_iter().filter_map(|cursor| {
                let head = heads.get(&cursor.tailnet_id).copied().unwrap_or_default();
                (is_thorough || head != cursor.place.sequence).then_some((cursor, head))
            });
            let visits = stream::iter(news).for_each_concurrent(AT_ONCE, |(cursor, head)| async move {
                let tailnet = cursor.tailnet_id;
                if let Err(error) = self.catch_up(owner, cursor, head).await {
                    tracing::warn!(owner = name, tailnet, %error, "events for webhooks of a tailnet wait");
                }
            });
            visits.await;
        }
    }

    /// Begins to follow the trails of tailnets whose webhooks were made before this owner could be asked.
    async fn begin_cursors(&self, owner: TrailOwner) -> Result<(), IdentityError> {
        loop {
            let (reader, name) = (self.log.database().reader(), owner.as_str());
            let missing = webhook_cursors::list_missing(reader, name, TAILNETS).await?;
            if missing.is_empty() {
                return Ok(());
            }
            let heads = self.trails.list_heads(owner, missing.clone()).await?.heads;
            let begun = self.log.database().write(move |write| {
                Box::pin(async move {
                    for tailnet in missing {
                        let head = heads.iter().find(|head| head.tailnet_id == tailnet);
                        let sequence = head.map_or(0, |head| head.sequence);
                        let on = write.connection();
                        webhook_cursors::begin_cursor(on, tailnet, name, sequence).await?;
                    }
                    Ok::<_, IdentityError>(())
                })
            });
            begun.await?;
        }
    }

    /// Makes events of some entries that are new in one trail.
    async fn catch_up(
        &self,
        owner: TrailOwner,
        cursor: TrailCursor,
        head: u64,
    ) -> Result<(), IdentityError> {
        let (tailnet_id, read) = (cursor.tailnet_id, cursor.place.sequence);
        let mut after = read.saturating_sub(LOOK_BACK);
        let limit = ENTRIES + u32::try_from(read - after).unwrap_or_default();
        let mut entries = Vec::<AuditEntry>::new();
        // Long entries may fill an answer before it reaches what is new.
        while after <= read {
            let listed = self.trails.read_entries(owner, tailnet_id, after, limit);
            let (part, has_more) = listed.await?;
            let Some(last) = part.last() else { break };
            after = last.sequence;
            entries.extend(part);
            if !has_more {
                break;
            }
        }
        let before = entries.iter().take_while(|entry| entry.sequence <= read);
        let before = before.count();
        let at_cursor = before.checked_sub(1).and_then(|place| entries.get(place));
        if head < read || !cursor.place.is_met_by(at_cursor) {
            return self.go_back(owner, cursor, head).await;
        }
        if before < entries.len() {
            let news = NewEntries { before, entries };
            self.queue_events(owner, cursor, news).await?;
        }
        Ok(())
    }

    /// The trail is not the one whose entries were read: the database has gone back to an earlier state. Events go on behind the
    /// entry that says so.
    async fn go_back(
        &self,
        owner: TrailOwner,
        cursor: TrailCursor,
        head: u64,
    ) -> Result<(), IdentityError> {
        let (name, tailnet) = (owner.as_str(), cursor.tailnet_id);
        let epoch = self.trails.find_newest_epoch(owner, tailnet).await?;
        let place = epoch.unwrap_or(TrailPlace {
            sequence: head,
            hash: None,
        });
        tracing::warn!(
            owner = name,
            tailnet,
            read = cursor.place.sequence,
            now = place.sequence,
            "the audit trail has gone back: events for webhooks are made from the newest epoch on, and those of the entries that were lost may have been sent"
        );
        let moved = self.log.database().write(move |write| {
            Box::pin(async move {
                let on = write.connection();
                if webhook_cursors::lock_cursor(on, name, &cursor).await? {
                    webhook_cursors::move_cursor(on, name, tailnet, &place).await?;
                }
                Ok::<_, IdentityError>(())
            })
        });
        moved.await
    }

    /// Lets the events of entries wait, and moves the cursor behind them, in one commit, unless another replica did.
    async fn queue_events(
        &self,
        owner: TrailOwner,
        cursor: TrailCursor,
        news: NewEntries,
    ) -> Result<(), IdentityError> {
        let queued = self.log.database().write(move |write| {
            Box::pin(async move {
                let (now, on, name) = (write.now(), write.connection(), owner.as_str());
                let tailnet_id = cursor.tailnet_id;
                if !webhook_cursors::lock_cursor(on, name, &cursor).await? {
                    return Ok(QueuedRound::default());
                }
                let found = store::find_tailnet(&mut *on, tailnet_id).await?;
                let webhooks = match &found {
                    Some(_) => webhooks::list_webhooks(&mut *on, tailnet_id).await?,
                    None => Vec::new(),
                };
                let tailnet = found.map(|tailnet| tailnet.name).unwrap_or_default();
                let mut round = QueuedRound::default();
                for place in news.before..news.entries.len() {
                    let (before, entries) = news.entries.split_at(place);
                    let Some(entry) = entries.first().filter(|_| round.written < MOST_QUEUED)
                    else {
                        break;
                    };
                    for event in events_of_entry(owner, &tailnet, before, entry) {
                        for webhook in &webhooks {
                            if !is_subscribed(&webhook.subscriptions, event.kind) {
                                continue;
                            }
                            round.written += 1;
                            if !webhook_events::queue_event(on, webhook.id, &event, now).await? {
                                *round.overflowing.entry(webhook.id).or_default() += 1;
                            }
                        }
                    }
                    round.entries += 1;
                }
                let last = news.entries.get(news.before + round.entries - 1);
                if let Some(last) = last {
                    let place = TrailPlace::of(last);
                    webhook_cursors::move_cursor(on, name, tailnet_id, &place).await?;
                }
                Ok::<_, IdentityError>(round)
            })
        });
        let round = queued.await?;
        if round.written > 0 {
            self.events.wake_sender();
        }
        self.forget_some(round.overflowing).await
    }

    /// Forgets the oldest events of webhooks that take none, now and then.
    async fn forget_some(&self, overflowing: BTreeMap<u64, u64>) -> Result<(), IdentityError> {
        let lost: u64 = overflowing.values().sum();
        if lost == 0 {
            return Ok(());
        }
        metrics::counter!("bowline_identity_undelivered_events_total").increment(lost);
        let due: Vec<u64> = {
            let counted = self.overflowing.lock();
            let mut counted = counted.unwrap_or_else(PoisonError::into_inner);
            for (webhook, lost) in overflowing {
                *counted.entry(webhook).or_default() += lost;
            }
            let due = counted.extract_if(.., |_, lost| *lost >= FORGET_AFTER);
            due.map(|(webhook, _)| webhook).collect()
        };
        let forgotten = self.log.database().write(move |write| {
            Box::pin(async move {
                for webhook in due {
                    let on = write.connection();
                    if webhooks::lock_webhook(on, webhook).await? {
                        webhook_events::forget_oldest(on, webhook).await?;
                    }
                }
                Ok::<_, IdentityError>(())
            })
        });
        forgotten.await
    }
}
