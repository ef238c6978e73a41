//! What is known of one connection.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bowline_service_kit::Shutdown;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use super::{
    link::Link,
    quota::{self, Quota, Share},
};
use crate::session::Contest;

/// How long a client may take for the TLS handshake, for the head of a request, and until its first.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection lives on which no node of ours speaks: longer than a login waits for somebody.
const STRANGER: Duration = Duration::from_secs(20 * 60);
/// The part of the drain time over which connections close; the rest is for what they still have to send.
const DRAIN_SPREAD: f64 = 0.7;

/// A connection, as the handlers of its requests see it; it holds its seat until the last of them is done.
///
/// Machine keys cost nothing, so a proven one makes nobody known: until a registered node speaks, the connection is a
/// stranger's, of which one source may have only so many.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: SocketAddr,
    is_secured: bool,
    bodies: Arc<Quota>,
    stranger: Mutex<Option<Share>>,
    end: End,
    link: Link,
    contest: Contest,
    _seat: OwnedSemaphorePermit,
}

/// How a connection ends in a drain.
#[derive(Debug)]
pub struct End {
    number: u64,
    shutdown: Shutdown,
    /// The part of the drain time after which it closes.
    share: f64,
    /// Cancelled to close it before.
    early: CancellationToken,
    /// Cancelled when the client has been told that nothing more is answered on it.
    closing: CancellationToken,
    /// Counts it among those that the drain waits for.
    _open: TaskTrackerToken,
}

impl End {
    /// Returns the end of the connection with this number: consecutive numbers lie far apart in the drain.
    pub(super) fn new(shutdown: Shutdown, number: u64, open: TaskTrackerToken) -> Self {
        Self {
            number,
            shutdown,
            share: DRAIN_SPREAD * fraction(number),
            early: CancellationToken::new(),
            closing: CancellationToken::new(),
            _open: open,
        }
    }
}

impl Connection {
    /// Describes a connection that was accepted.
    pub(super) fn new(
        source: SocketAddr,
        is_secured: bool,
        bodies: Arc<Quota>,
        stranger: Share,
        seat: OwnedSemaphorePermit,
        end: End,
    ) -> Self {
        Self(Arc::new(Inner {
            source,
            is_secured,
            bodies,
            stranger: Mutex::new(Some(stranger)),
            end,
            link: Link::new(),
            contest: Contest::default(),
            _seat: seat,
        }))
    }

    /// Returns its number; no other connection of this process has the same.
    pub fn number(&self) -> u64 {
        self.0.end.number
    }

    /// Returns what is known of its link.
    pub fn link(&self) -> &Link {
        &self.0.link
    }

    /// Returns what it has lost to other machines with the same node key.
    pub fn contest(&self) -> &Contest {
        &self.0.contest
    }

    /// Waits for its turn to close: in a drain connections close one after the other, so that clients move to other
    /// gateways in no burst.
    pub async fn turn(&self) {
        let end = &self.0.end;
        tokio::select! {
            () = end.early.cancelled() => {}
            () = end.shutdown.drained_for(end.share) => {}
        }
    }

    /// Brings its turn forward: its client has to ask another gateway.
    pub fn leave(&self) {
        self.0.end.early.cancel();
    }

    /// Says to all that is answered on it that it closes. The transport has told the client before: a client whose
    /// stream ends first would ask again on the same connection.
    pub fn announce_closing(&self) {
        self.0.end.closing.cancel();
    }

    /// Waits until it closes: what is answered on it ends.
    pub async fn closing(&self) {
        self.0.end.closing.cancelled().await;
    }

    /// Says whether the gateway drains, so that nothing new may begin on it.
    pub fn is_draining(&self) -> bool {
        self.0.end.shutdown.is_draining()
    }

    /// Returns where it comes from.
    pub fn source(&self) -> IpAddr {
        self.0.source.ip()
    }

    /// Returns what counts as one source: an IPv4 address, or the first of the /64 it comes from.
    pub fn network(&self) -> IpAddr {
        quota::source(self.source())
    }

    /// Says whether it is inside TLS.
    pub fn is_secured(&self) -> bool {
        self.0.is_secured
    }

    /// Notes that a registered node speaks on it.
    pub fn is_known(&self) {
        drop(self.stranger().take());
    }

    /// Returns the share of a request's body in what all bodies may hold, empty at first.
    pub fn body(&self) -> Share {
        self.0.bodies.share(self.source())
    }

    /// Returns when the connection should end: nothing is asked on it at first, or no registered node speaks for long.
    pub async fn overstayed(&self, asked: &CancellationToken) {
        if tokio::time::timeout(PATIENCE, asked.cancelled())
            .await
            .is_err()
        {
            return;
        }
        tokio::time::sleep(STRANGER).await;
        if self.stranger().is_none() {
            std::future::pending().await
        }
    }

    fn stranger(&self) -> std::sync::MutexGuard<'_, Option<Share>> {
        self.0
            .stranger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a number between 0 and 1 that is far from those of neighbouring numbers.
#[expect(clippy::cast_precision_loss, reason = "a spread needs no precision")]
pub fn fraction(number: u64) -> f64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
impl Connection {
    /// Returns the connection with a number that nobody is at the other end of.
    pub(crate) fn unconnected(shutdown: Shutdown, number: u64) -> Self {
        let everything = Quota::new(1, 1);
        let seat = Arc::new(tokio::sync::Semaphore::new(1));
        let source = SocketAddr::from(([192, 0, 2, 1], 1));
        let open = tokio_util::task::TaskTracker::new().token();
        Self::new(
            source,
            true,
            Arc::clone(&everything),
            everything.share(source.ip()),
            seat.try_acquire_owned().expect("free"),
            End::new(shutdown, number, open),
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_close_spread_over_the_drain_or_when_they_have_to() {
        let shutdown = Shutdown::new(Duration::from_secs(100));
        let connections: Vec<_> = (1..=20)
            .map(|number| Connection::unconnected(shutdown.clone(), number))
            .collect();
        let early = Connection::unconnected(shutdown.clone(), 21);
        early.leave();
        early.turn().await;
        shutdown.drain();
        let start = Instant::now();
        let mut turns = Vec::new();
        for connection in &connections {
            // Each wait counts from the start of the drain.
            let turn = async {
                connection.turn().await;
                start.elapsed().as_secs()
            };
            turns.push(turn);
        }
        let mut turns = futures_util::future::join_all(turns).await;
        turns.sort_unstable();
        assert!(turns[19] < 70, "the rest is for what is still to be sent");
        let widest = turns.windows(2).map(|two| two[1] - two[0]).max();
        assert!(widest.is_some_and(|gap| gap <= 10), "{turns:?}");
    }
}
