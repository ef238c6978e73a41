//! What is known of one connection.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::quota::{self, Quota, Share};

/// How long a client may take for the TLS handshake, for the head of a request, and until its first.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection lives on which no node of ours speaks: longer than a login waits for somebody.
const STRANGER: Duration = Duration::from_secs(20 * 60);

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
    _seat: OwnedSemaphorePermit,
}

impl Connection {
    /// Describes a connection that was accepted.
    pub(super) fn new(
        source: SocketAddr,
        is_secured: bool,
        bodies: Arc<Quota>,
        stranger: Share,
        seat: OwnedSemaphorePermit,
    ) -> Self {
        Self(Arc::new(Inner {
            source,
            is_secured,
            bodies,
            stranger: Mutex::new(Some(stranger)),
            _seat: seat,
        }))
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
