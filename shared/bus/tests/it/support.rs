//! A bus for a test, and waiting for what it tells.

use std::time::Duration;

use bowline_bus::{Bus, Event, Hint, LogOwner, Subscription};
use bowline_ids::{Revision, TailnetId};
use bowline_test_servers::RedisServer;
use tokio::time::timeout;

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bus that a test has for itself.
pub(crate) struct TestBus {
    /// Where a test publishes.
    pub(crate) publisher: Bus,
    /// Where it listens: over Redis another process's.
    pub(crate) listener: Bus,
    _server: Option<RedisServer>,
}

impl TestBus {
    pub(crate) fn in_process() -> Self {
        let bus = Bus::in_process();
        Self {
            publisher: bus.clone(),
            listener: bus,
            _server: None,
        }
    }

    /// `None` without an installed Redis, unless CI demands it.
    pub(crate) async fn redis() -> Option<Self> {
        let server = RedisServer::start().unwrap()?;
        let publisher = connected(&server.url()).await;
        let listener = connected(&server.url()).await;
        Some(Self {
            publisher,
            listener,
            _server: Some(server),
        })
    }
}

/// Returns a bus that listens already: the newest of its own hints has come back, none is under way. The gap of the
/// first connection may have come before anybody listened.
pub(crate) async fn connected(url: &str) -> Bus {
    let bus = Bus::redis(url).await.unwrap();
    let mut subscription = bus.subscribe(&[LogOwner::Identity]);
    for marker in 1..=PATIENCE.as_secs() {
        let sent = hint(99, marker);
        bus.publish(LogOwner::Identity, sent);
        let heard = async {
            while subscription.next().await != Some(Event::Hint(LogOwner::Identity, sent)) {}
        };
        if timeout(Duration::from_secs(1), heard).await.is_ok() {
            return bus;
        }
    }
    unreachable!("the bus does not connect to {url}");
}

pub(crate) async fn next(subscription: &mut Subscription) -> Event {
    timeout(PATIENCE, subscription.next())
        .await
        .expect("an event comes")
        .expect("the bus is there")
}

/// Publishes until a hint arrives: a bus that is connecting drops hints. Returns what came before it.
pub(crate) async fn publish_until_heard(bus: &Bus, subscription: &mut Subscription) -> Vec<Event> {
    let mut before = Vec::new();
    let heard = async {
        loop {
            bus.publish(LogOwner::Identity, hint(1, 1));
            match timeout(Duration::from_millis(50), subscription.next()).await {
                Ok(Some(Event::Hint(..))) => return,
                Ok(Some(event)) => before.push(event),
                Ok(None) => unreachable!("the bus is there"),
                Err(_) => {}
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("hints arrive again");
    before
}

pub(crate) fn hint(tailnet: u64, revision: u64) -> Hint {
    Hint {
        tailnet: TailnetId::try_from(tailnet).unwrap(),
        revision: Revision::new(revision),
        soft_revision: revision + 1,
    }
}
