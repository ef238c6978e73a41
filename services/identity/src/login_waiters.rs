//! Calls of `WaitLogin` that wait for a decision, which any replica may make.
//!
//! A decision made at this replica wakes those who wait for that login at once. For decisions made elsewhere one loop reads
//! the database every 500 ms, with one query for all logins that are waited for.
//!
//! ```text
//! WaitLogin ─▶ begin_wait(id) ─┐             ┌─ announce_decision: a decision made here
//! WaitLogin ─▶ begin_wait(id) ─┴─▶ waiters ◀─┴─ watch_decisions: decisions that the database has
//! ```

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_db::Database;
use bowline_proto::identity::v1::Login;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};

use crate::{error::IdentityError, store};

/// How soon a decision made by another replica is noticed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How often the database is told that a login is waited for: logins that nobody waits for are evicted first when there are
/// too many.
pub(crate) const NOTE_INTERVAL: Duration = Duration::from_secs(20);
/// The most calls that wait for one login. A client makes one; the others may belong to connections that it has lost and
/// that have not timed out.
const MOST_OF_LOGIN: usize = 4;
/// The most calls that wait at one replica.
const MOST_IN_ALL: usize = 10_000;

/// All calls that wait at this replica. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters(Arc<WaitersState>);

#[derive(Debug, Default)]
struct WaitersState {
    waited: Mutex<AwaitedLogins>,
    /// Wakes the loop, which rests while nobody waits.
    arrived: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct AwaitedLogins {
    logins: BTreeMap<String, AwaitedLogin>,
    count: usize,
}

/// One login that is waited for.
#[derive(Debug)]
struct AwaitedLogin {
    count: usize,
    /// When the database was last told that it is waited for.
    noted: Option<Instant>,
    decided: watch::Sender<Option<Login>>,
}

/// One call that waits. When it is dropped, its place is free for another.
#[derive(Debug)]
pub(crate) struct LoginWait {
    waiters: Waiters,
    id: String,
    decided: watch::Receiver<Option<Login>>,
}

impl Waiters {
    /// Starts to wait for a login.
    ///
    /// # Errors
    ///
    /// When too many calls wait for this login, or at this replica.
    pub(crate) fn begin_wait(&self, id: &str) -> Result<LoginWait, IdentityError> {
        let mut waited = self.lock_logins();
        if waited.count >= MOST_IN_ALL {
            return Err(IdentityError::TooManyWaiters);
        }
        let login = waited
            .logins
            .entry(id.to_owned())
            .or_insert_with(|| AwaitedLogin {
                count: 0,
                noted: None,
                decided: watch::channel(None).0,
            });
        if login.count >= MOST_OF_LOGIN {
            return Err(IdentityError::TooManyOfLogin);
        }
        login.count += 1;
        let decided = login.decided.subscribe();
        waited.count += 1;
        self.0.arrived.notify_one();
        Ok(LoginWait {
            waiters: self.clone(),
            id: id.to_owned(),
            decided,
        })
    }

    /// Passes a decided login to the calls that wait for it.
    pub(crate) fn announce_decision(&self, login: &Login) {
        if let Some(waited) = self.lock_logins().logins.get(&login.id) {
            waited.decided.send_replace(Some(login.clone()));
        }
    }

    /// Reads decisions that other replicas made and announces them here. It rests while nobody waits.
    pub(crate) async fn watch_decisions(self, database: Database) {
        loop {
            let come = self.0.arrived.notified();
            let (ids, unnoted) = self.take_awaited_ids(Instant::now());
            if ids.is_empty() {
                come.await;
                continue;
            }
            match read_decisions(&database, &ids, &unnoted).await {
                Ok(decided) => decided
                    .iter()
                    .for_each(|login| self.announce_decision(login)),
                Err(error) => tracing::warn!(%error, "logins that are waited for can not be read"),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the ids of the logins that are waited for, and those among them of which the database is to be told so again.
    /// These count as told from here on.
    fn take_awaited_ids(&self, now: Instant) -> (Vec<String>, Vec<String>) {
        let mut waited = self.lock_logins();
        let ids = waited.logins.keys().cloned().collect();
        let mut unnoted = Vec::new();
        for (id, login) in &mut waited.logins {
            if login.noted.is_none_or(|noted| now - noted >= NOTE_INTERVAL) {
                login.noted = Some(now);
                unnoted.push(id.clone());
            }
        }
        (ids, unnoted)
    }

    fn lock_logins(&self) -> MutexGuard<'_, AwaitedLogins> {
        self.0.waited.lock()
    }
}

/// Records that these logins are waited for.
pub(crate) async fn note_awaited(
    database: &Database,
    ids: Vec<String>,
) -> Result<(), IdentityError> {
    let noted = database.write(|write| {
        Box::pin(async move {
            let now = write.now();
            store::logins::note_awaited(write.connection(), &ids, now).await?;
            Ok::<_, IdentityError>(())
        })
    });
    noted.await?;
    Ok(())
}

/// Records which logins are waited for, and reads which are decided.
async fn read_decisions(
    database: &Database,
    ids: &[String],
    unnoted: &[String],
) -> Result<Vec<Login>, IdentityError> {
    if !unnoted.is_empty() {
        note_awaited(database, unnoted.to_vec()).await?;
    }
    let mut decided = Vec::new();
    for ids in ids.chunks(store::MOST_IDS) {
        decided.extend(store::logins::list_decided_logins(database.reader(), ids).await?);
    }
    Ok(decided)
}

impl LoginWait {
    /// Returns the login as soon as it is decided, or `None` when that has not happened by `end`.
    pub(crate) async fn decided_until(&mut self, end: Instant) -> Option<Login> {
        let decided = self.decided.wait_for(Option::is_some);
        let decided = tokio::time::timeout_at(end, decided).await.ok()?.ok()?;
        decided.clone()
    }
}

impl Drop for LoginWait {
    fn drop(&mut self) {
        let mut waited = self.waiters.lock_logins();
        waited.count = waited.count.saturating_sub(1);
        if let Some(login) = waited.logins.get_mut(&self.id) {
            login.count -= 1;
            if login.count == 0 {
                waited.logins.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
