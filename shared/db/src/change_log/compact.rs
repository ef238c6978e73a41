//! Forgetting old entries.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::Row;

use crate::{Database, DatabaseError, to_micros};

/// How many tailnets are listed at once.
const PAGE: i64 = 1000;

pub(super) async fn run(
    database: &Database,
    keep_entries: u32,
    keep_age: Duration,
) -> Result<u64, DatabaseError> {
    let keep_age = TimeDelta::from_std(keep_age).unwrap_or(TimeDelta::MAX);
    let now = database.now().await?;
    let Some(oldest) = now.checked_sub_signed(keep_age).map(to_micros) else {
        return Ok(0);
    };
    let (mut forgotten, mut after) = (0, 0_i64);
    loop {
        let page = sqlx::query(
            "SELECT tailnet_id, revision FROM heads
             WHERE tailnet_id > $1 AND EXISTS
                 (SELECT 1 FROM change_log WHERE change_log.tailnet_id = heads.tailnet_id
                  AND change_log.revision <= heads.revision - $2)
             ORDER BY tailnet_id LIMIT $3",
        )
        .bind(after)
        .bind(i64::from(keep_entries))
        .bind(PAGE)
        .fetch_all(database.reader())
        .await?;
        let Some(last) = page.last() else {
            return Ok(forgotten);
        };
        after = last.try_get(0)?;
        for row in &page {
            let through = row.try_get::<i64, _>(1)? - i64::from(keep_entries);
            forgotten += delete_entries(database, row.try_get(0)?, through, oldest).await?;
        }
    }
}

/// Removes the oldest entries up to the first that is young: what stays has no holes, though clocks go back.
async fn delete_entries(
    database: &Database,
    tailnet: i64,
    through: i64,
    oldest: i64,
) -> Result<u64, DatabaseError> {
    database
        .write(|write| {
            Box::pin(async move {
                let result = sqlx::query(
                    "DELETE FROM change_log WHERE tailnet_id = $1 AND revision <= $2 AND revision < COALESCE(
                        (SELECT MIN(young.revision) FROM change_log AS young
                         WHERE young.tailnet_id = $1 AND young.committed_at >= $3), $2 + 1)",
                )
                .bind(tailnet)
                .bind(through)
                .bind(oldest)
                .execute(write.connection())
                .await?;
                Ok(result.rows_affected())
            })
        })
        .await
}
