//! One follower and an owner whose log the tests write.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bowline_bus::{Bus, Hint, LogOwner};
use bowline_ids::Revision;
use bowline_proto::changes::v1::Head;
use bowline_service_kit::{ServiceName, Shutdown, Tasks};
use tokio::time::timeout;

use super::*;
use crate::Feed;

/// The log of one tailnet: entries are numbered from 1, and each says its number.
#[derive(Clone, Copy, Debug, Default)]
struct Log {
    /// What the owner has.
    head: Position,
    /// What the replica that is asked for entries has; `None`: all.
    replica: Option<Position>,
    /// The last entry that was compacted away.
    compacted: u64,
    is_unreachable: bool,
    /// How often entries were asked for.
    asked_for_entries: usize,
    /// How often everything was asked for.
    asked_for_all: usize,
}

#[derive(Clone, Debug, Default)]
struct TestOwner(Arc<Mutex<Log>>);

impl TestOwner {
    /// Changes the log, or looks at it.
    fn with<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Looks at the log as somebody who asks over the network.
    fn asked<T>(&self, answer: impl FnOnce(&mut Log) -> T) -> Result<T, Status> {
        self.with(|log| {
            let answer = answer(log);
            if log.is_unreachable {
                return Err(Status::unavailable("no route"));
            }
            Ok(answer)
        })
    }
}

#[async_trait]
impl LogSource for TestOwner {
    const OWNER: LogOwner = LogOwner::KeyRegistry;
    type Changes = Vec<u64>;
    type Chunk = u64;

    async fn fetch_heads(&self, tailnets: Vec<u64>) -> Result<Vec<Head>, Status> {
        self.asked(|log| {
            let head = |tailnet_id| Head {
                tailnet_id,
                revision: log.head.revision,
                soft_revision: log.head.soft_revision,
            };
            tailnets.into_iter().map(head).collect()
        })
    }

    async fn fetch_changes(
        &self,
        _: TailnetId,
        position: Position,
    ) -> Result<Fetched<Vec<u64>>, Status> {
        self.asked(|log| {
            log.asked_for_entries += 1;
            if position.revision < log.compacted {
                return Fetched::Compacted;
            }
            let reached = position.or_later(log.replica.unwrap_or(log.head));
            let entries = (position.revision + 1..=reached.revision).collect();
            Fetched::Changes(entries, reached)
        })
    }

    async fn fetch_snapshot(&self, _: TailnetId) -> Result<Snapshot<u64>, Status> {
        self.asked(|log| {
            log.asked_for_all += 1;
            Snapshot {
                chunks: (1..=log.head.revision).collect(),
                position: log.head,
            }
        })
    }
}

/// An owner, and who follows its log.
struct Followed {
    owner: TestOwner,
    bus: Bus,
    follow: TailnetFollower<TestOwner>,
    _feed: Feed<TestOwner>,
}

fn tailnet() -> TailnetId {
    TailnetId::try_from(1_u64).unwrap()
}

fn at(revision: u64) -> Position {
    Position {
        revision,
        soft_revision: 0,
    }
}

impl Followed {
    /// Follows a log with this many entries.
    fn with_entries(revision: u64) -> Self {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, owner) = (Bus::in_process(), TestOwner::default());
        owner.with(|log| log.head = at(revision));
        let feed = Feed::start(owner.clone(), ServiceName::NetmapGateway, &bus, &tasks);
        Self {
            owner,
            bus,
            follow: feed.follow_tailnet(tailnet()),
            _feed: feed,
        }
    }

    /// Follows a log with this many entries, all of them applied.
    async fn after_entries(revision: u64) -> Self {
        let mut followed = Self::with_entries(revision);
        let first = followed.everything().await;
        assert_eq!(first, (1..=revision).collect::<Vec<_>>());
        followed
    }

    fn hint(&self, revision: u64) {
        let hint = Hint {
            tailnet: tailnet(),
            revision: Revision::new(revision),
            soft_revision: 0,
        };
        self.bus.publish(LogOwner::KeyRegistry, hint);
    }

    async fn update(&mut self) -> Update<TestOwner> {
        let update = timeout(Duration::from_secs(10), self.follow.next()).await;
        update.expect("an update in time")
    }

    async fn everything(&mut self) -> Vec<u64> {
        match self.update().await {
            Update::Snapshot(snapshot) => snapshot.chunks,
            other => panic!("{other:?}"),
        }
    }

    async fn entries(&mut self) -> Vec<u64> {
        match self.update().await {
            Update::Changes(entries, reached) => {
                assert_eq!(entries.last(), Some(&reached.revision));
                entries
            }
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass in which no update may come.
    async fn nothing_for(&mut self, seconds: u64) {
        let update = timeout(Duration::from_secs(seconds), self.follow.next()).await;
        assert!(update.is_err(), "{update:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_comes_everything_and_then_what_is_new() {
    let mut followed = Followed::after_entries(5).await;
    followed.nothing_for(5).await;
    assert_eq!(followed.owner.with(|log| log.asked_for_entries), 0);
    followed.owner.with(|log| log.head = at(7));
    followed.hint(7);
    assert_eq!(followed.entries().await, [6, 7]);
    assert_eq!(followed.owner.with(|log| log.asked_for_all), 1);
}

#[tokio::test(start_paused = true)]
async fn hints_that_were_lost_leave_no_hole() {
    let mut followed = Followed::after_entries(5).await;
    followed.owner.with(|log| log.head = at(9));
    // Those of 6, 7 and 8 were lost.
    followed.hint(9);
    assert_eq!(followed.entries().await, [6, 7, 8, 9]);
    // And here every one was: the next question for heads finds it.
    followed.owner.with(|log| log.head = at(11));
    assert_eq!(followed.entries().await, [10, 11]);
}

#[tokio::test(start_paused = true)]
async fn hints_that_repeat_or_come_late_are_asked_about_once() {
    let mut followed = Followed::after_entries(5).await;
    followed.owner.with(|log| log.head = at(6));
    for revision in [6, 6, 3, 6] {
        followed.hint(revision);
    }
    assert_eq!(followed.entries().await, [6]);
    followed.nothing_for(5).await;
    assert_eq!(followed.owner.with(|log| log.asked_for_entries), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_compacted_away_are_replaced_by_everything() {
    let mut followed = Followed::after_entries(5).await;
    followed.owner.with(|log| {
        log.head = at(20);
        log.compacted = 15;
    });
    followed.hint(20);
    assert_eq!(followed.everything().await, (1..=20).collect::<Vec<_>>());
    // From there entries are enough again.
    followed.owner.with(|log| log.head = at(21));
    assert_eq!(followed.entries().await, [21]);
    assert_eq!(followed.owner.with(|log| log.asked_for_all), 2);
}

#[tokio::test(start_paused = true)]
async fn replica_that_lags_is_asked_about_once_a_second_until_it_has_the_rest() {
    let mut followed = Followed::after_entries(5).await;
    followed.owner.with(|log| {
        log.head = at(9);
        log.replica = Some(at(7));
    });
    followed.hint(9);
    assert_eq!(followed.entries().await, [6, 7]);
    let before = followed.owner.with(|log| log.asked_for_entries);
    followed.nothing_for(10).await;
    let asked = followed.owner.with(|log| log.asked_for_entries) - before;
    assert!(
        (5..=25).contains(&asked),
        "asked {asked} times in ten seconds"
    );
    followed.owner.with(|log| log.replica = None);
    assert_eq!(followed.entries().await, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn forged_hint_costs_a_question_and_changes_nothing() {
    let mut followed = Followed::after_entries(5).await;
    followed.hint(u64::MAX >> 1);
    followed.nothing_for(10).await;
    let asked = followed
        .owner
        .with(|log| (log.asked_for_entries, log.asked_for_all));
    assert!(asked.0 <= 3 && asked.1 == 1, "{asked:?}");
    // What is true afterwards is heard of as ever.
    followed.owner.with(|log| log.head = at(6));
    followed.hint(6);
    assert_eq!(followed.entries().await, [6]);
}

#[tokio::test(start_paused = true)]
async fn soft_state_alone_is_news() {
    let mut followed = Followed::after_entries(5).await;
    let head = Position {
        soft_revision: 3,
        ..at(5)
    };
    followed.owner.with(|log| log.head = head);
    let update = followed.update().await;
    assert!(
        matches!(&update, Update::Changes(entries, reached) if entries.is_empty() && *reached == head),
        "{update:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn owner_out_of_reach_is_tried_again_with_longer_pauses_and_nothing_is_lost() {
    let mut followed = Followed::after_entries(5).await;
    followed.owner.with(|log| {
        log.head = at(8);
        log.is_unreachable = true;
    });
    followed.hint(8);
    followed.nothing_for(20).await;
    let asked = followed.owner.with(|log| log.asked_for_entries);
    // Five pauses double up to a second, then it is one try a second.
    assert!(
        (20..=26).contains(&asked),
        "asked {asked} times in twenty seconds"
    );
    followed.owner.with(|log| log.is_unreachable = false);
    assert_eq!(followed.entries().await, [6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shown_before_everything_is_there() {
    let mut followed = Followed::with_entries(5);
    followed.owner.with(|log| log.is_unreachable = true);
    followed.nothing_for(5).await;
    followed.owner.with(|log| log.is_unreachable = false);
    assert_eq!(followed.everything().await, [1, 2, 3, 4, 5]);
}

/// Keeps the texts of warnings and of what ends them.
#[derive(Clone, Debug, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = format!("{} {}", event.metadata().level(), text.0);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// The message of an event.
struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn owner_that_is_away_is_warned_of_once_and_so_is_its_return() {
    let warnings = Warnings::default();
    let _captured = tracing::subscriber::set_default(warnings.clone());
    // With one subscriber alone, `tracing` asks that of the thread which meets an event first: another test's, which has
    // none. With two it asks both.
    let _second = tracing::Dispatch::new(warnings.clone());
    let taken = || std::mem::take(&mut *warnings.0.lock().unwrap());
    let mut followed = Followed::after_entries(5).await;
    followed.owner.with(|log| {
        log.head = at(6);
        log.is_unreachable = true;
    });
    followed.hint(6);
    followed.nothing_for(60).await;
    let told = taken();
    assert!(
        matches!(&*told, [only] if only.starts_with("WARN changes can")),
        "{told:?}"
    );
    followed.owner.with(|log| log.is_unreachable = false);
    assert_eq!(followed.entries().await, [6]);
    followed.nothing_for(5).await;
    let told = taken();
    assert!(
        matches!(&*told, [only] if only.starts_with("INFO changes")),
        "{told:?}"
    );
}
