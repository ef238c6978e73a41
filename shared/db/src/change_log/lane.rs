//! Where mutations wait while the commit before theirs runs: one lane for each tailnet, or one for all on SQLite.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bowline_ids::{Revision, TailnetId};
use bowline_service_kit::{TraceParent, TracedWork, WorkSpan};
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{LogState, Mutation, batch};
use crate::{DatabaseError, SqlDialect};

/// How many mutations share one commit.
const MOST_PER_COMMIT: usize = 64;

/// How many may wait in one lane: more than this take longer than a caller waits.
const MOST_WAITING: usize = 1024;

/// A mutation that waits, whatever it returns.
pub(super) trait Job: Send {
    fn tailnet(&self) -> TailnetId;
    fn actor(&self) -> &str;
    /// Returns the address that asked for it, where that is known.
    fn source(&self) -> Option<IpAddr>;
    /// Returns the span that it commits under, if that is recorded.
    fn trace(&self) -> Option<TraceParent>;
    /// Runs the work once and keeps its result; tells whether it succeeded.
    fn run<'c>(&'c mut self, mutation: &'c mut Mutation) -> BoxFuture<'c, bool>;
    /// Replaces the result by an error.
    fn replace_result(&mut self, error: DatabaseError);
    /// Tells the caller the result, or why there is none.
    fn answer_caller(self: Box<Self>, commit: Result<Revision, DatabaseError>);
}

/// A mutation and its caller.
pub(super) struct QueuedMutation<T, E, F> {
    tailnet: TailnetId,
    actor: String,
    source: Option<IpAddr>,
    work: Option<F>,
    result: Option<Result<T, E>>,
    /// From here until the caller is answered: how long it waits, and its commit.
    span: WorkSpan,
    caller: oneshot::Sender<Result<(T, Revision), E>>,
}

impl<T, E, F> QueuedMutation<T, E, F> {
    pub(super) fn new(
        tailnet: TailnetId,
        actor: String,
        work: F,
        caller: oneshot::Sender<Result<(T, Revision), E>>,
    ) -> Self {
        let mut span = WorkSpan::begin("commit change");
        span.note_number("bowline.tailnet.id", tailnet.get());
        Self {
            tailnet,
            actor,
            source: TracedWork::current_source(),
            work: Some(work),
            result: None,
            span,
            caller,
        }
    }
}

impl<T, E, F> Job for QueuedMutation<T, E, F>
where
    F: for<'c> FnOnce(&'c mut Mutation) -> BoxFuture<'c, Result<T, E>> + Send,
    T: Send,
    E: From<DatabaseError> + Send,
{
    fn tailnet(&self) -> TailnetId {
        self.tailnet
    }

    fn actor(&self) -> &str {
        &self.actor
    }

    fn source(&self) -> Option<IpAddr> {
        self.source
    }

    fn trace(&self) -> Option<TraceParent> {
        self.span.parent()
    }

    fn run<'c>(&'c mut self, mutation: &'c mut Mutation) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
                self.result = Some(work(mutation).await);
            }
            matches!(self.result, Some(Ok(_)))
        })
    }

    fn replace_result(&mut self, error: DatabaseError) {
        self.result = Some(Err(error.into()));
    }

    fn answer_caller(mut self: Box<Self>, commit: Result<Revision, DatabaseError>) {
        match &commit {
            Ok(revision) => self.span.note_number("bowline.revision", revision.get()),
            Err(_) => self.span.note_failure(),
        }
        let answer = match (commit, self.result) {
            (Ok(revision), Some(result)) => result.map(|value| (value, revision)),
            (Ok(_), None) => Err(DatabaseError::unavailable("the mutation did not run").into()),
            (Err(error), _) => Err(error.into()),
        };
        // The caller may have gone; the change stands.
        drop(self.caller.send(answer));
    }
}

type Lane = Option<TailnetId>;
type Queue = VecDeque<Box<dyn Job>>;

/// The lanes that have a worker; a lane without work is not kept.
#[derive(Default)]
pub(super) struct Lanes(Mutex<BTreeMap<Lane, Queue>>);

impl fmt::Debug for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Lanes")
            .field(&self.lock_lanes().len())
            .finish()
    }
}

impl Lanes {
    // A plain mutex: it is held for a push or a take, never across an await.
    fn lock_lanes(&self) -> MutexGuard<'_, BTreeMap<Lane, Queue>> {
        self.0.lock()
    }
}

/// Puts a mutation in its lane, and a worker on the lane if it has none.
pub(super) fn enqueue_job(log: &Arc<LogState>, job: Box<dyn Job>) -> Result<(), DatabaseError> {
    let lane = lane_of(log, job.tailnet());
    if push_job(log, lane, job)? {
        // The lanes are not locked here: a runtime that ends drops what it is given at once, and the worker's drop locks
        // them.
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends when its lane is empty; a panic is answered by its drop"
        )]
        tokio::spawn(empty_lane(LaneWorker {
            log: Arc::clone(log),
            lane,
            has_begun: false,
            is_done: false,
        }));
    }
    Ok(())
}

/// Puts a mutation in its lane. Returns whether the lane needs a worker: it had no queue before.
fn push_job(log: &LogState, lane: Lane, job: Box<dyn Job>) -> Result<bool, DatabaseError> {
    let mut lanes = log.lanes.lock_lanes();
    let is_idle = !lanes.contains_key(&lane);
    let queue = lanes.entry(lane).or_default();
    if queue.len() >= MOST_WAITING {
        return Err(DatabaseError::unavailable(
            "too many mutations of the tailnet wait",
        ));
    }
    queue.push_back(job);
    Ok(is_idle)
}

/// Returns how many mutations wait in a tailnet's lane.
pub(super) fn count_waiting(log: &LogState, tailnet: TailnetId) -> usize {
    log.lanes
        .lock_lanes()
        .get(&lane_of(log, tailnet))
        .map_or(0, VecDeque::len)
}

fn lane_of(log: &LogState, tailnet: TailnetId) -> Lane {
    match log.database.dialect() {
        SqlDialect::Postgres => Some(tailnet),
        SqlDialect::Sqlite => None,
    }
}

/// The one that empties a lane.
struct LaneWorker {
    log: Arc<LogState>,
    lane: Lane,
    has_begun: bool,
    is_done: bool,
}

async fn empty_lane(mut worker: LaneWorker) {
    worker.has_begun = true;
    while let Some(jobs) = worker.take_batch() {
        metrics::histogram!("bowline_group_commit_mutations").record(jobs.len() as f64);
        let rest = batch::run(&worker.log, jobs).await;
        worker.put_back(rest);
    }
}

impl LaneWorker {
    /// Puts back, in their order, the jobs that a batch had no time for.
    fn put_back(&self, rest: Vec<Box<dyn Job>>) {
        if let Some(queue) = self.log.lanes.lock_lanes().get_mut(&self.lane) {
            for job in rest.into_iter().rev() {
                queue.push_front(job);
            }
        }
    }

    /// Takes the next batch; with nothing left, gives up the lane in the same step.
    fn take_batch(&mut self) -> Option<Vec<Box<dyn Job>>> {
        let mut lanes = self.log.lanes.lock_lanes();
        let queue = lanes.get_mut(&self.lane).filter(|queue| !queue.is_empty());
        let jobs = queue.map(|queue| queue.drain(..queue.len().min(MOST_PER_COMMIT)).collect());
        if jobs.is_none() {
            lanes.remove(&self.lane);
            self.is_done = true;
        }
        jobs
    }
}

impl Drop for LaneWorker {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // One that never began has not panicked itself: the runtime ends, and takes no more.
        let has_panicked = self.has_begun && std::thread::panicking();
        if let (true, Ok(runtime)) = (has_panicked, Handle::try_current()) {
            // Those of the batch are told by their dropped jobs; those who wait get another worker.
            let (log, lane) = (Arc::clone(&self.log), self.lane);
            runtime.spawn(empty_lane(LaneWorker {
                log,
                lane,
                has_begun: false,
                is_done: false,
            }));
        } else {
            // The process ends.
            self.log.lanes.lock_lanes().remove(&self.lane);
        }
    }
}
