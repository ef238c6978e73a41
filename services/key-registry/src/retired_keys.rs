//! Keeps the table of node keys from growing without end: 30 days after a key was retired, a hash of it is left.
//!
//! A fleet of short-lived machines makes a key for each. None of them may be bound again, ever, so that something has to stay
//! of each: one short row.

use bowline_db::ChangeLog;
use chrono::TimeDelta;

use crate::{error::RegistryError, store::retired_keys};

/// From this schema level on every process looks for retired keys in both tables.
const RETIRED_KEYS_LEVEL: u32 = 2;
/// How long the machine and the time of a retired key are kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How many keys are looked at in one transaction.
const MOST_KEYS: u32 = 1000;
/// How many of these there are at most before others have their turn.
const MOST_BATCHES: usize = 100;

/// Shrinks the keys that were retired long ago.
pub(crate) async fn shrink_old_keys(log: &ChangeLog) -> Result<(), RegistryError> {
    if log.database().schema_level() < RETIRED_KEYS_LEVEL {
        return Ok(());
    }
    for _ in 0..MOST_BATCHES {
        let shrinking = log.database().write(|write| {
            Box::pin(async move {
                let before = write.now() - KEPT;
                let shrunk = retired_keys::shrink_keys(write.connection(), before, MOST_KEYS);
                Ok::<_, RegistryError>(shrunk.await?)
            })
        });
        if shrinking.await? < u64::from(MOST_KEYS) {
            break;
        }
    }
    Ok(())
}

/// Notes that keys are retired which an earlier release retired, and which it could not note: looks at all keys, some at a
/// time.
pub(crate) async fn find_retired_keys(log: &ChangeLog) -> Result<(), RegistryError> {
    let mut after = Vec::new();
    loop {
        let reader = log.database().reader();
        let page = retired_keys::list_unmarked(reader, &after, MOST_KEYS).await?;
        let Some(last) = page.last().map(|key| key.node_key.clone()) else {
            return Ok(());
        };
        after = last;
        let retired: Vec<_> = page.into_iter().filter(|key| !key.is_bound).collect();
        if retired.is_empty() {
            continue;
        }
        let marking = log.database().write(move |write| {
            Box::pin(async move {
                let now = write.now();
                for key in retired {
                    retired_keys::mark_if_retired(write.connection(), &key.node_key, now).await?;
                }
                Ok::<_, RegistryError>(())
            })
        });
        marking.await?;
    }
}

#[cfg(test)]
mod tests;
