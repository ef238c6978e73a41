//! Reads the logs of locks: a few at a time, on threads for blocking work, and a small one not again while nothing was added.

use std::{collections::BTreeMap, sync::Arc};

use bowline_db::{Database, Mutation};
use bowline_ids::TailnetId;
use bowline_tailnet_lock::LockLog;
use parking_lot::Mutex;
use sqlx::AnyConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{LockInForce, find_lock, read_log, refuse_without_lock};
use crate::{
    error::RegistryError,
    store::locks::{self, LockPhase, LockRow},
};

/// How many logs are read or checked at a time: each keeps a processor busy, and one is left for all else.
const MOST_AT_ONCE: usize = 1;
/// Of how many tailnets the log is kept.
const MOST_KEPT: usize = 64;
/// Longer ones are read each time.
const MOST_BYTES: usize = 256 << 10;

/// The logs of all tailnets. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LockLogs {
    turns: Arc<Semaphore>,
    kept: Arc<Mutex<BTreeMap<u64, KeptLog>>>,
}

/// A log, and what it was read at.
#[derive(Clone, Debug)]
struct KeptLog {
    number: u64,
    head: String,
    count: usize,
    log: Arc<LockLog>,
}

impl LockLogs {
    pub(super) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            kept: Arc::default(),
        }
    }

    /// Waits for the turn to work on a log.
    pub(super) async fn take_turn(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.turns).acquire_owned().await {
            Ok(turn) => turn,
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the lock of a tailnet, or refuses where none is on.
    pub(super) async fn require(
        &self,
        database: &Database,
        tailnet: TailnetId,
    ) -> Result<LockInForce, RegistryError> {
        let mut read = database.begin_read().await?;
        let (row, count) = read_place(&mut read, tailnet).await?;
        drop(read);
        if let Some(log) = self.find_kept(&row, count) {
            return Ok(LockInForce { row, log });
        }
        let _turn = self.take_turn().await;
        let mut read = database.begin_read().await?;
        let (row, count) = read_place(&mut read, tailnet).await?;
        // Whoever had the turn before may have read it.
        if let Some(log) = self.find_kept(&row, count) {
            return Ok(LockInForce { row, log });
        }
        let rows = locks::updates(&mut *read, &row).await?;
        drop(read);
        let log = Arc::new(run_blocking(move || read_log(&rows)).await?);
        if log.bytes() <= MOST_BYTES {
            self.keep(&row, &log);
        }
        Ok(LockInForce { row, log })
    }

    fn find_kept(&self, row: &LockRow, count: usize) -> Option<Arc<LockLog>> {
        let kept = self.kept.lock();
        let found = kept.get(&row.tailnet_id)?;
        let is_same = found.number == row.number && found.head == row.head && found.count == count;
        is_same.then(|| Arc::clone(&found.log))
    }

    fn keep(&self, row: &LockRow, log: &Arc<LockLog>) {
        let mut kept = self.kept.lock();
        if kept.len() >= MOST_KEPT && !kept.contains_key(&row.tailnet_id) {
            kept.pop_first();
        }
        let one = KeptLog {
            number: row.number,
            head: row.head.clone(),
            count: log.count(),
            log: Arc::clone(log),
        };
        kept.insert(row.tailnet_id, one);
    }
}

/// Reads how far the lock of a tailnet is, or refuses where none is on.
async fn read_place(
    on: &mut AnyConnection,
    tailnet: TailnetId,
) -> Result<(LockRow, usize), RegistryError> {
    let row = locks::newest(&mut *on, tailnet.get(), false).await?;
    let row = row.filter(|row| row.phase == LockPhase::On);
    let row = row.ok_or_else(refuse_without_lock)?;
    let count = locks::count_updates(on, &row).await?;
    Ok((row, count))
}

/// Returns the lock of a tailnet as the transaction sees it: the one that was read before where nothing was added, so that
/// nothing is read and checked twice.
pub(super) async fn find_lock_again(
    mutation: &mut Mutation,
    known: &LockInForce,
) -> Result<LockInForce, RegistryError> {
    let tailnet = mutation.tailnet().get();
    let row = locks::newest(mutation.connection(), tailnet, false).await?;
    let count = locks::count_updates(mutation.connection(), &known.row).await?;
    if row.as_ref() == Some(&known.row) && count == known.log.count() {
        return Ok(known.clone());
    }
    let lock = find_lock(mutation).await?;
    lock.ok_or_else(refuse_without_lock)
}

/// Runs work that keeps a processor busy on a thread for blocking work.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    #[expect(
        clippy::disallowed_methods,
        reason = "how many there are is bounded by who calls this"
    )]
    let done = tokio::task::spawn_blocking(work).await;
    match done.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Only a runtime that shuts down cancels such work: nobody waits for the answer any more.
        Err(Err(_)) => std::future::pending().await,
    }
}
