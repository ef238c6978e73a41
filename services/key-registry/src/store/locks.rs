//! Tailnet locks and their updates.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

use super::decode_bodies;

/// How far a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockPhase {
    /// A device has begun it; nobody heeds it yet.
    Begun,
    /// It is on.
    On,
    /// It was on.
    Off,
}

/// A lock of a tailnet.
#[derive(Clone, Debug, PartialEq)]
pub struct LockRow {
    /// The tailnet.
    pub tailnet_id: u64,
    /// Which of its locks.
    pub number: u64,
    /// How far it is.
    pub phase: LockPhase,
    /// The node that began it.
    pub begun_by: u64,
    /// The hash of the last update, as text.
    pub head: String,
    /// Since when it is so far.
    pub since: Option<DateTime<Utc>>,
    /// What switched it off.
    pub disablement_secret: Option<Vec<u8>>,
}

/// An update of a lock.
#[derive(Clone, Debug)]
pub struct LockUpdateRow {
    /// When it was taken.
    pub taken_at: Option<DateTime<Utc>>,
    /// As the client sent it.
    pub body: Vec<u8>,
}

impl LockPhase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::On => "on",
            Self::Off => "off",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Begun, Self::On, Self::Off];
        all.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// Returns the last lock of a tailnet, one that is only begun included where `with_begun` says so.
pub async fn newest<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    with_begun: bool,
) -> Result<Option<LockRow>, DatabaseError> {
    let query = sqlx::query(
        "SELECT number, phase, begun_by, head, since, disablement_secret FROM tailnet_locks
         WHERE tailnet_id = $1 AND ($2 = 1 OR phase <> 'begun') ORDER BY number DESC LIMIT 1",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(i64::from(with_begun));
    let read = |row: AnyRow| {
        let phase: String = row.try_get("phase")?;
        let phase = LockPhase::parse(&phase).ok_or_else(|| DatabaseError::Inconsistent {
            table: "tailnet_locks",
            row: "its phase is none that there is".to_owned(),
        })?;
        Ok(LockRow {
            tailnet_id,
            number: row.try_get::<i64, _>("number")?.cast_unsigned(),
            phase,
            begun_by: row.try_get::<i64, _>("begun_by")?.cast_unsigned(),
            head: row.try_get("head")?,
            since: from_micros(row.try_get("since")?),
            disablement_secret: row.try_get("disablement_secret")?,
        })
    };
    query.fetch_optional(on).await?.map(read).transpose()
}

/// Writes a lock.
pub async fn put_lock(on: &mut AnyConnection, lock: &LockRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO tailnet_locks (tailnet_id, number, phase, begun_by, head, since, disablement_secret)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tailnet_id, number) DO UPDATE SET phase = excluded.phase, begun_by = excluded.begun_by,
             head = excluded.head, since = excluded.since, disablement_secret = excluded.disablement_secret",
    )
    .bind(lock.tailnet_id.cast_signed())
    .bind(lock.number.cast_signed())
    .bind(lock.phase.as_str())
    .bind(lock.begun_by.cast_signed())
    .bind(lock.head.clone())
    .bind(lock.since.map_or(0, to_micros))
    .bind(lock.disablement_secret.clone())
    .execute(on)
    .await?;
    Ok(())
}

/// Returns the updates of a lock, in the order in which they were taken.
pub async fn updates<'e>(
    on: impl Executor<'e, Database = Any>,
    lock: &LockRow,
) -> Result<Vec<LockUpdateRow>, DatabaseError> {
    let query = sqlx::query(
        "SELECT taken_at, body FROM lock_updates WHERE tailnet_id = $1 AND number = $2 ORDER BY place",
    );
    let query = query.bind(lock.tailnet_id.cast_signed());
    let query = query.bind(lock.number.cast_signed());
    let read = |row: AnyRow| {
        Ok(LockUpdateRow {
            taken_at: from_micros(row.try_get("taken_at")?),
            body: row.try_get("body")?,
        })
    };
    query.fetch_all(on).await?.into_iter().map(read).collect()
}

/// Returns how many updates a lock has.
pub async fn count_updates<'e>(
    on: impl Executor<'e, Database = Any>,
    lock: &LockRow,
) -> Result<usize, DatabaseError> {
    let sql = "SELECT COUNT(*) FROM lock_updates WHERE tailnet_id = $1 AND number = $2";
    let query = sqlx::query_scalar(sql).bind(lock.tailnet_id.cast_signed());
    let count: i64 = query.bind(lock.number.cast_signed()).fetch_one(on).await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Returns the first update of a lock, as the client sent it.
pub async fn first_update<'e>(
    on: impl Executor<'e, Database = Any>,
    lock: &LockRow,
) -> Result<Option<Vec<u8>>, DatabaseError> {
    let sql = "SELECT body FROM lock_updates WHERE tailnet_id = $1 AND number = $2 AND place = 0";
    let query = sqlx::query_scalar(sql).bind(lock.tailnet_id.cast_signed());
    let query = query.bind(lock.number.cast_signed());
    Ok(query.fetch_optional(on).await?)
}

/// Adds an update to a lock, at a place that is free.
pub async fn add_update(
    on: &mut AnyConnection,
    lock: &LockRow,
    place: usize,
    update: LockUpdateRow,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO lock_updates (tailnet_id, number, place, taken_at, body) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(lock.tailnet_id.cast_signed())
    .bind(lock.number.cast_signed())
    .bind(i64::try_from(place).unwrap_or(i64::MAX))
    .bind(update.taken_at.map_or(0, to_micros))
    .bind(update.body)
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets the updates of a lock that was only begun.
pub async fn clear_updates(on: &mut AnyConnection, lock: &LockRow) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM lock_updates WHERE tailnet_id = $1 AND number = $2")
        .bind(lock.tailnet_id.cast_signed())
        .bind(lock.number.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the nodes whose signature rests on a key, by number.
pub async fn nodes_signed_by<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    signer: &[u8],
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE tailnet_id = $1 AND lock_signer = $2 ORDER BY id",
    );
    let query = query.bind(tailnet_id.cast_signed()).bind(signer.to_vec());
    decode_bodies("nodes", &query.fetch_all(on).await?)
}

/// Returns the nodes that wait for a signature, by number.
pub async fn nodes_without_signature<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE tailnet_id = $1 AND awaits_signature = 1 ORDER BY id",
    );
    let query = query.bind(tailnet_id.cast_signed());
    decode_bodies("nodes", &query.fetch_all(on).await?)
}
