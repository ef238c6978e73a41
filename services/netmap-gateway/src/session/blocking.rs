//! Runs work that keeps a processor busy on other threads than those that answer clients.
//!
//! ```text
//! run_blocking ─▶ queue ─▶ a thread for each processor but one takes the next piece of work as soon as it is done with one
//! ```
//!
//! So the next piece does not wait until a task has run that asks for it: where thousands of tasks wait, that takes a while.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, LazyLock, mpsc},
    thread::{self, available_parallelism},
};

use bowline_control_wire::FrameError;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The work of this process.
static QUEUE: LazyLock<mpsc::Sender<Work>> = LazyLock::new(start_threads);

type Work = Box<dyn FnOnce() + Send>;

/// Returns how many processors such work may keep busy: all but one, which is left for answers.
pub fn busy_processors() -> usize {
    let processors = available_parallelism().map_or(1, NonZero::get);
    processors.saturating_sub(1).max(1)
}

/// Runs work that keeps a processor busy on a thread for such work; it is left out when nobody waits for it any more.
///
/// # Errors
///
/// The error of the work, or that there is no thread for it.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FrameError> + Send + 'static,
) -> Result<T, FrameError> {
    let (sender, done) = oneshot::channel();
    let work: Work = Box::new(move || {
        if !sender.is_closed() {
            // If the caller has gone meanwhile, nobody wants it.
            drop(sender.send(catch_unwind(AssertUnwindSafe(work))));
        }
    });
    // Work that nobody takes is dropped, and its caller hears that below.
    drop(QUEUE.send(work));
    match done.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(std::io::Error::other("no thread can be started for it").into()),
    }
}

/// Starts the threads. They belong to no runtime, so that none of them ends before the process does.
fn start_threads() -> mpsc::Sender<Work> {
    let (sender, queue) = mpsc::channel::<Work>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..busy_processors() {
        let queue = Arc::clone(&queue);
        let started = thread::Builder::new()
            .name("busy".to_owned())
            .spawn(move || {
                loop {
                    // The lock is given back before the work begins.
                    let next = queue.lock().recv();
                    let Ok(work) = next else { return };
                    work();
                }
            });
        if let Err(error) = started {
            tracing::error!(%error, "a thread that makes first messages can not be started");
        }
    }
    sender
}
