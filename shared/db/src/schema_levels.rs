//! Which form of entries and rows may be written, while processes of two releases run side by side.
//!
//! ```text
//! each process, every 5 s (SQLite: 60 s): itself and who called it ─▶ processes ─▶ the lowest level of those that live
//!                                                          ─▶ schema_levels (only ever raised) ─▶ Database::schema_level
//! ```
//!
//! A release that adds a table, field or kind of entry has a higher level ([`bowline_service_kit::SCHEMA_LEVEL`]), and writes it where
//! [`Database::schema_level`] has reached that. Until then every process of the release before still works, and may come back;
//! from then on it is refused, in words.

use std::time::Duration;

use bowline_service_kit::{CallerVersions, CertificateEnds, ProcessVersion, ServiceName, Tasks};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AnyConnection, Row, any::AnyRow};
use tokio::time::Instant;

use crate::{Database, DatabaseError, DatabaseOptions, SqlDialect, from_micros, to_micros};

/// How often the processes of a deployment are noted.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often the only process of a SQLite file is noted: each time is a write to a disk that may rest.
const INTERVAL_ALONE: Duration = Duration::from_secs(60);
/// How long a process counts as living after it was seen, and how long the others are watched before the level is raised.
const LIVES_FOR: TimeDelta = TimeDelta::seconds(60);
/// How long a process that is seen no more is shown.
const SHOWN_FOR: TimeDelta = TimeDelta::hours(1);

/// A process that reads or writes a database, or what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveProcess {
    /// The service.
    pub service: String,
    /// What the process says of itself.
    pub version: ProcessVersion,
    /// When it was last seen.
    pub seen_at: DateTime<Utc>,
}

impl Database {
    /// Notes from here on which processes live: this one, of a service, and those that call it; and raises the schema level
    /// once all of them know a higher one. Callers of a lower level than the one in use are refused.
    pub fn keep_schema_level(&self, own: ServiceName, callers: CallerVersions, tasks: &Tasks) {
        let database = self.clone();
        let interval = match self.dialect() {
            SqlDialect::Postgres => INTERVAL,
            SqlDialect::Sqlite => INTERVAL_ALONE,
        };
        tasks.spawn_background("schema-level", async move {
            let started = Instant::now();
            loop {
                let mut seen = callers.take_callers();
                seen.push((own, ProcessVersion::own()));
                let has_watched = started.elapsed() >= LIVES_FOR.to_std().unwrap_or_default();
                match database.note_processes(seen, has_watched).await {
                    Ok(level) => callers.require_level(level),
                    Err(error) => tracing::warn!(%error, "which releases run can not be noted"),
                }
                if let Err(error) = database.refresh_epoch().await {
                    tracing::debug!(%error, "the epoch can not be read");
                }
                tokio::time::sleep(interval).await;
            }
        });
    }

    /// Notes processes that were seen, and returns the schema level in use: where they were watched for long enough, all that
    /// live know it.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn note_processes(
        &self,
        seen: Vec<(ServiceName, ProcessVersion)>,
        has_watched: bool,
    ) -> Result<u32, DatabaseError> {
        let level = self.write(|write| {
            Box::pin(async move {
                let now = write.now();
                let on = write.connection();
                for (service, version) in seen {
                    put_process(on, service, version, now).await?;
                }
                delete_gone_processes(on, now).await?;
                let in_use = read_level(on).await?;
                let known = find_lowest_level(on, now).await?;
                match known {
                    Some(known) if known > in_use && has_watched => {
                        record_level(on, known, now).await?;
                        tracing::info!(
                            level = known,
                            "all processes know this schema level: it is used from here on"
                        );
                        Ok::<_, DatabaseError>(known)
                    }
                    _ => Ok(in_use),
                }
            })
        });
        let level = level.await?;
        self.note_level(level);
        Ok(level)
    }

    /// Returns the processes that were seen within the last hour.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn list_processes(&self) -> Result<Vec<LiveProcess>, DatabaseError> {
        let query =
            "SELECT service, id, version, level, seen_at, services_certificate_end, clients_certificate_end
             FROM processes ORDER BY service, id";
        let rows = sqlx::query(query).fetch_all(self.reader()).await?;
        rows.iter().map(read_process).collect()
    }
}

fn read_process(row: &AnyRow) -> Result<LiveProcess, DatabaseError> {
    let inconsistent = || DatabaseError::Inconsistent {
        table: "processes",
        row: "its time is beyond the calendar".to_owned(),
    };
    Ok(LiveProcess {
        service: row.try_get(0)?,
        version: ProcessVersion {
            id: row.try_get(1)?,
            release: row.try_get(2)?,
            level: to_level(row.try_get(3)?),
            ends: CertificateEnds {
                services: row.try_get(5)?,
                clients: row.try_get(6)?,
            },
        },
        seen_at: from_micros(row.try_get(4)?).ok_or_else(inconsistent)?,
    })
}

async fn put_process(
    on: &mut AnyConnection,
    service: ServiceName,
    version: ProcessVersion,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO processes
             (service, id, version, level, seen_at, services_certificate_end, clients_certificate_end)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (service, id) DO UPDATE SET seen_at = excluded.seen_at,
             services_certificate_end = excluded.services_certificate_end,
             clients_certificate_end = excluded.clients_certificate_end",
    );
    query
        .bind(service.as_str())
        .bind(version.id)
        .bind(version.release)
        .bind(i64::from(version.level))
        .bind(to_micros(now))
        .bind(version.ends.services)
        .bind(version.ends.clients)
        .execute(on)
        .await?;
    Ok(())
}

async fn delete_gone_processes(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM processes WHERE seen_at < $1");
    query.bind(to_micros(now - SHOWN_FOR)).execute(on).await?;
    Ok(())
}

/// Returns the level that every living process knows.
async fn find_lowest_level(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
) -> Result<Option<u32>, DatabaseError> {
    let query = sqlx::query_scalar::<_, Option<i64>>(
        "SELECT MIN(level) FROM processes WHERE seen_at >= $1",
    );
    let lowest = query.bind(to_micros(now - LIVES_FOR)).fetch_one(on).await?;
    Ok(lowest.map(to_level))
}

/// Returns the level in use.
pub(crate) async fn read_level(on: &mut AnyConnection) -> Result<u32, DatabaseError> {
    let query = sqlx::query_scalar::<_, Option<i64>>("SELECT MAX(level) FROM schema_levels");
    Ok(query.fetch_one(on).await?.map_or(0, to_level))
}

async fn record_level(
    on: &mut AnyConnection,
    level: u32,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO schema_levels (level, raised_at) VALUES ($1, $2) ON CONFLICT (level) DO NOTHING",
    );
    query
        .bind(i64::from(level))
        .bind(to_micros(now))
        .execute(on)
        .await?;
    Ok(())
}

/// Puts a new database's level to that of the program that makes it: no other has written there.
pub(crate) async fn record_first_level(
    on: &mut AnyConnection,
    options: &DatabaseOptions,
) -> Result<(), DatabaseError> {
    record_level(on, options.level, options.clock.now()).await
}

/// Returns a level as the database has it.
pub(crate) fn to_level(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(u32::MAX)
}
