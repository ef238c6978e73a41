use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bowline_bus::{Hint, LogOwner};
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
impl LogSource for Hanging {
    const OWNER: LogOwner = LogOwner::KeyRegistry;
    type Changes = ();
    type Chunk = ();

    async fn fetch_heads(&self, _: Vec<u64>) -> Result<Vec<Head>, Status> {
        self.0.add_permits(1);
        std::future::pending().await
    }

    async fn fetch_changes(&self, _: TailnetId, position: Position) -> Result<Fetched<()>, Status> {
        let position = Position {
            revision: position.revision + 1,
            ..position
        };
        Ok(Fetched::Changes((), position))
    }

    async fn fetch_snapshot(&self, _: TailnetId) -> Result<Snapshot<()>, Status> {
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
    let feed = Feed::start(
        Hanging(Arc::clone(&asked)),
        ServiceName::NetmapGateway,
        &bus,
        &tasks,
    );
    let mut follow = feed.follow_tailnet(tailnet);
    assert!(matches!(follow.next().await, Update::Snapshot(_)));
    asked.acquire().await.unwrap().forget();
    let hint = Hint {
        tailnet,
        revision: Revision::new(1),
        soft_revision: 0,
    };
    bus.publish(LogOwner::KeyRegistry, hint);
    let update = tokio::time::timeout(Duration::from_secs(20), follow.next()).await;
    assert!(matches!(update.unwrap(), Update::Changes((), reached) if reached.revision == 1));
}

/// An owner whose log ends at `.head`, and that counts how often it is asked for entries.
#[derive(Clone, Default)]
struct Counting {
    head: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

#[async_trait]
impl LogSource for Counting {
    const OWNER: LogOwner = LogOwner::Identity;
    type Changes = ();
    type Chunk = ();

    async fn fetch_heads(&self, asked: Vec<u64>) -> Result<Vec<Head>, Status> {
        let revision = self.head.load(Ordering::SeqCst);
        let head = |tailnet_id| Head {
            tailnet_id,
            revision,
            soft_revision: 0,
        };
        Ok(asked.into_iter().map(head).collect())
    }

    async fn fetch_changes(&self, _: TailnetId, position: Position) -> Result<Fetched<()>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let revision = self.head.load(Ordering::SeqCst);
        if position.revision > revision {
            return Ok(Fetched::Compacted);
        }
        let position = Position {
            revision,
            ..position
        };
        Ok(Fetched::Changes((), position))
    }

    async fn fetch_snapshot(&self, _: TailnetId) -> Result<Snapshot<()>, Status> {
        let position = Position {
            revision: self.head.load(Ordering::SeqCst),
            soft_revision: 0,
        };
        Ok(Snapshot {
            chunks: Vec::new(),
            position,
        })
    }
}

fn hint(tailnet: TailnetId, revision: u64) -> Hint {
    Hint {
        tailnet,
        revision: Revision::new(revision),
        soft_revision: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn forged_hint_is_forgotten_and_hints_count_again() {
    let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
    let (bus, tailnet) = (Bus::in_process(), TailnetId::try_from(1_u64).unwrap());
    let source = Counting::default();
    let feed = Feed::start(source.clone(), ServiceName::NetmapGateway, &bus, &tasks);
    let mut follow = feed.follow_tailnet(tailnet);
    assert!(matches!(follow.next().await, Update::Snapshot(_)));
    bus.publish(LogOwner::Identity, hint(tailnet, i64::MAX.cast_unsigned()));
    let wait = Duration::from_secs(3);
    assert!(time::timeout(wait, follow.next()).await.is_err());
    let asked = source.asked.load(Ordering::SeqCst);
    assert!(time::timeout(wait, follow.next()).await.is_err());
    assert_eq!(
        source.asked.load(Ordering::SeqCst),
        asked,
        "it is not believed for ever"
    );
    source.head.store(1, Ordering::SeqCst);
    bus.publish(LogOwner::Identity, hint(tailnet, 1));
    let begin = time::Instant::now();
    let update = follow.next().await;
    assert!(matches!(update, Update::Changes((), reached) if reached.revision == 1));
    assert_eq!(begin.elapsed(), Duration::ZERO, "the hint was enough");
}

#[tokio::test(start_paused = true)]
async fn owner_that_was_put_back_is_noticed_though_it_gets_ahead_again() {
    let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
    let (bus, tailnet) = (Bus::in_process(), TailnetId::try_from(1_u64).unwrap());
    let source = Counting::default();
    source.head.store(1000, Ordering::SeqCst);
    let feed = Feed::start(source.clone(), ServiceName::NetmapGateway, &bus, &tasks);
    let mut follow = feed.follow_tailnet(tailnet);
    assert!(matches!(follow.next().await, Update::Snapshot(_)));
    source.head.store(950, Ordering::SeqCst);
    let noticed = time::timeout(Duration::from_secs(5), follow.next()).await;
    assert!(matches!(noticed, Ok(Update::Snapshot(_))));
    // An owner that stays where it is is asked for nothing.
    let asked = source.asked.load(Ordering::SeqCst);
    let idle = time::timeout(Duration::from_secs(5), follow.next()).await;
    assert!(idle.is_err());
    assert_eq!(source.asked.load(Ordering::SeqCst), asked);
}
