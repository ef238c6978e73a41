//! Whether a process is ready: it has started, and its database answers.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// Asks whether the database of a process answers.
pub type DatabaseCheck = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer counts: whoever asks more often is not passed on to the database.
const PACE: Duration = Duration::from_secs(1);

/// Whether the process is ready. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Readiness(Arc<ReadinessState>);

#[derive(Default)]
struct ReadinessState {
    has_started: AtomicBool,
    check: OnceLock<PacedCheck>,
}

/// A check that is made at most once in [`PACE`], one at a time.
struct PacedCheck {
    ask: DatabaseCheck,
    last: Mutex<Option<(Instant, bool)>>,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has_started = self.0.has_started.load(Ordering::Relaxed);
        formatter
            .debug_tuple("Readiness")
            .field(&has_started)
            .finish()
    }
}

impl Readiness {
    /// Says that the process has started.
    pub(super) fn begin(&self) {
        self.0.has_started.store(true, Ordering::Relaxed);
    }

    /// Takes what asks for the database, once.
    pub(super) fn require_database(&self, ask: DatabaseCheck) {
        let last = Mutex::default();
        drop(self.0.check.set(PacedCheck { ask, last }));
    }

    /// Returns why the process is not ready.
    pub(super) async fn hindrance(&self) -> Option<&'static str> {
        if !self.0.has_started.load(Ordering::Relaxed) {
            return Some("starting\n");
        }
        match self.0.check.get() {
            Some(check) if !check.is_met().await => Some("the database does not answer\n"),
            _ => None,
        }
    }
}

impl PacedCheck {
    async fn is_met(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((when, answer)) = *last
            && when.elapsed() < PACE
        {
            return answer;
        }
        let answer = timeout(PATIENCE, (self.ask)()).await.unwrap_or(false);
        *last = Some((Instant::now(), answer));
        answer
    }
}

#[cfg(test)]
mod tests;
