//! Runs work that keeps a processor busy on other threads than those that answer clients.
//!
//! ```text
//! run_blocking ─▶ queue ─▶ a thread for each processor but one takes the next piece of work as soon as it is done with one
//! ```
//!
//! So the next piece does not wait until a task has run that asks for it: where thousands of tasks wait, that takes a while.

use std::{
    any::Any,
    collections::VecDeque,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::LazyLock,
    thread::available_parallelism,
};

use bowline_control_wire::FrameError;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The work of this process.
static QUEUE: LazyLock<Mutex<WorkQueue>> = LazyLock::new(Mutex::default);

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct WorkQueue {
    waiting: VecDeque<Work>,
    /// How many threads work.
    threads: usize,
}

/// Returns how many processors such work may keep busy: all but one, which is left for answers.
pub fn busy_processors() -> usize {
    let processors = available_parallelism().map_or(1, NonZero::get);
    processors.saturating_sub(1).max(1)
}

/// Runs work that keeps a processor busy on a thread for such work; it is left out when nobody waits for it any more.
///
/// # Errors
///
/// The error of the work, or that the process ends.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FrameError> + Send + 'static,
) -> Result<T, FrameError> {
    let (sender, done) = oneshot::channel();
    enqueue(Box::new(move || {
        if !sender.is_closed() {
            // If the caller has gone meanwhile, nobody wants it.
            drop(sender.send(catch_unwind(AssertUnwindSafe(work))));
        }
    }));
    match done.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic as Box<dyn Any + Send>),
        Err(_) => Err(std::io::Error::other("the process ends").into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "each piece of work is short, and there is a bounded number of threads"
)]
fn enqueue(work: Work) {
    let mut queue = QUEUE.lock();
    queue.waiting.push_back(work);
    if queue.threads < busy_processors() {
        queue.threads += 1;
        drop(queue);
        tokio::task::spawn_blocking(work_until_empty);
    }
}

fn work_until_empty() {
    loop {
        let mut queue = QUEUE.lock();
        let Some(work) = queue.waiting.pop_front() else {
            queue.threads -= 1;
            return;
        };
        drop(queue);
        work();
    }
}
