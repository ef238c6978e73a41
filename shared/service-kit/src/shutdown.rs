//! How a process ends: first it drains, then it goes.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Tells the parts of a process that it drains, and that it ends. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    draining: CancellationToken,
    ended: CancellationToken,
    drain_time: Duration,
    /// When draining started.
    since: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// Returns a shutdown that lets draining take at most this long.
    #[must_use]
    pub fn new(drain_time: Duration) -> Self {
        Self {
            draining: CancellationToken::new(),
            ended: CancellationToken::new(),
            drain_time,
            since: Arc::default(),
        }
    }

    /// Returns how long draining may take.
    #[must_use]
    pub fn drain_time(&self) -> Duration {
        self.drain_time
    }

    /// Starts draining: nothing new is taken on, what runs is finished.
    pub fn drain(&self) {
        self.since.get_or_init(Instant::now);
        self.draining.cancel();
    }

    /// Ends at once.
    pub fn end(&self) {
        self.drain();
        self.ended.cancel();
    }

    /// Tells whether draining has started.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until draining starts.
    pub async fn wait_for_drain(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until a part of the drain time is over, counted from the start of the drain however late the wait begins.
    /// A share of 1 is all of it.
    pub async fn wait_for_drain_share(&self, share: f64) {
        self.wait_for_drain().await;
        let since = self.since.get_or_init(Instant::now);
        tokio::time::sleep_until(*since + self.drain_time.mul_f64(share)).await;
    }

    /// Waits until the end: what still runs is cut off.
    pub async fn wait_for_end(&self) {
        self.ended.cancelled().await;
    }
}

/// Waits for SIGTERM or SIGINT, each time one comes.
pub(crate) async fn wait_for_signal() {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

#[cfg(test)]
mod tests;
