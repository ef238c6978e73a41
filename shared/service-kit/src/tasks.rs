//! What a process does in the background: named, tracked, and never dead unseen.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::Shutdown;
use crate::shutdown::wait_for_signal;
use crate::supervisor::Supervisor;
use crate::trace::export;

/// Why a process can not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// A task that must run as long as the process returned.
    #[error("task {0} ended early")]
    Ended(&'static str),
    /// A task failed.
    #[error("task {name}: {cause}")]
    Failed {
        /// The task.
        name: &'static str,
        /// What it returned.
        cause: String,
    },
    /// A task has a defect; the log has the place.
    #[error("task {0} panicked")]
    Panicked(&'static str),
}

/// The only place of a service that spawns. Clones share it.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
    failure: Arc<FirstFailure>,
}

/// The first failure, and the news of it.
#[derive(Debug, Default)]
struct FirstFailure {
    cause: std::sync::OnceLock<TaskError>,
    news: Notify,
}

impl FirstFailure {
    fn report_failure(&self, error: TaskError) {
        tracing::error!(%error, "task failed");
        // Only the first counts: later ones follow from it.
        drop(self.cause.set(error));
        self.news.notify_one();
    }
}

impl Tasks {
    /// Returns no tasks yet; all are told of `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            tracker: TaskTracker::new(),
            shutdown,
            failure: Arc::default(),
        }
    }

    /// Returns what tells the tasks to drain.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a task that may end; a panic in it ends the process.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let failure = Arc::clone(&self.failure);
        self.tracker.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                failure.report_failure(TaskError::Panicked(name));
            }
        });
    }

    /// Starts a task that serves others until the process ends: draining does not wait for it. A panic in it ends
    /// the process.
    pub fn spawn_background(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let failure = Arc::clone(&self.failure);
        // An `async` block would have room for the work twice, and each connection is one.
        let watched = AssertUnwindSafe(work).catch_unwind().map(move |done| {
            if done.is_err() {
                failure.report_failure(TaskError::Panicked(name));
            }
        });
        #[expect(clippy::disallowed_methods, reason = "its panic is reported")]
        tokio::spawn(watched);
    }

    /// Starts a task that must run until draining starts: an error, a panic or an early end ends the process.
    pub fn spawn_critical<E: Display + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tracker.spawn(self.clone().watch_task(name, work));
    }

    /// Starts a critical task that goes on through draining, such as the listener for health: it is not waited for,
    /// and cut off at the end.
    pub fn spawn_companion<E: Display + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let tasks = self.clone();
        #[expect(clippy::disallowed_methods, reason = "its panic is reported")]
        tokio::spawn(async move {
            let shutdown = tasks.shutdown.clone();
            tokio::select! {
                () = tasks.watch_task(name, work) => {}
                () = shutdown.wait_for_end() => {}
            }
        });
    }

    async fn watch_task<E: Display>(
        self,
        name: &'static str,
        work: impl Future<Output = Result<(), E>>,
    ) {
        let error = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(())) if self.shutdown.is_draining() => return,
            Ok(Ok(())) => TaskError::Ended(name),
            Ok(Err(cause)) => TaskError::Failed {
                name,
                cause: cause.to_string(),
            },
            Err(_) => TaskError::Panicked(name),
        };
        self.failure.report_failure(error);
    }

    /// Runs until a signal, [`Shutdown::drain`] or a failure; then drains: waits for the tasks, but no longer than
    /// the drain time, a second signal, or [`Shutdown::end`]. A service manager that waits to hear of it is told: everything is
    /// to serve when this is called.
    ///
    /// # Errors
    ///
    /// What failed first. `main` returns it, so that the process ends with an error.
    pub fn run(self) -> BoxFuture<'static, Result<(), TaskError>> {
        self.run_under(Supervisor::of_process())
    }

    /// Runs, and tells `supervisor` of it.
    pub(crate) fn run_under(
        self,
        supervisor: Supervisor,
    ) -> BoxFuture<'static, Result<(), TaskError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            supervisor.report_ready();
            self.spawn_background("watchdog", supervisor.clone().keep_reporting_life());
            tokio::select! {
                () = wait_for_signal() => tracing::info!("signal received, draining"),
                () = self.shutdown.wait_for_drain() => {}
                () = self.failure.news.notified() => {}
            }
            self.shutdown.drain();
            supervisor.report_drain(self.shutdown.drain_time());
            if let Some(cause) = self.failure.cause.get() {
                supervisor.report_failure(&cause.to_string());
            }
            self.tracker.close();
            tokio::select! {
                () = self.tracker.wait() => {}
                () = wait_for_signal() => tracing::warn!("second signal received, ending at once"),
                () = self.shutdown.wait_for_end() => {}
                () = sleep(self.shutdown.drain_time()) => {
                    tracing::warn!(tasks = self.tracker.len(), "drain time is over");
                }
            }
            self.shutdown.end();
            export::finish().await;
            self.failure.cause.get().cloned().map_or(Ok(()), Err)
        })
    }
}

#[cfg(test)]
mod tests;
