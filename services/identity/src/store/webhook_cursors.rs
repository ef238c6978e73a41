//! How far events for webhooks were made of the audit trails.

use bowline_db::DatabaseError;
use sqlx::{Any, AnyConnection, Executor, Row as _};

use super::webhook_events::TrailPlace;

/// How far events were made of a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailCursor {
    /// The tailnet.
    pub tailnet_id: u64,
    /// The entries up to there were read.
    pub place: TrailPlace,
}

/// Begins to make events of a trail behind its newest entry, if that is not done yet and the tailnet has webhooks.
pub async fn begin_cursor(
    on: &mut AnyConnection,
    tailnet_id: u64,
    owner: &str,
    sequence: u64,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO webhook_cursors (tailnet_id, owner, sequence)
         SELECT $1, $2, $3 WHERE EXISTS (SELECT 1 FROM webhooks WHERE tailnet_id = $1)
         ON CONFLICT (tailnet_id, owner) DO NOTHING",
    )
    .bind(tailnet_id.cast_signed())
    .bind(owner.to_owned())
    .bind(sequence.cast_signed())
    .execute(on)
    .await?;
    Ok(())
}

/// Returns some tailnets with webhooks of which no events of an owner's trail are made.
pub async fn list_missing<'e>(
    on: impl Executor<'e, Database = Any>,
    owner: &str,
    most: i64,
) -> Result<Vec<u64>, DatabaseError> {
    let found: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT tailnet_id FROM webhooks WHERE NOT EXISTS
             (SELECT 1 FROM webhook_cursors WHERE webhook_cursors.tailnet_id = webhooks.tailnet_id AND owner = $1)
         LIMIT $2",
    )
    .bind(owner.to_owned())
    .bind(most)
    .fetch_all(on)
    .await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Returns how far events were made of trails of an owner, of tailnets after one.
pub async fn list_cursors<'e>(
    on: impl Executor<'e, Database = Any>,
    owner: &str,
    after: u64,
    most: i64,
) -> Result<Vec<TrailCursor>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT tailnet_id, sequence, hash FROM webhook_cursors WHERE owner = $1 AND tailnet_id > $2
         ORDER BY tailnet_id LIMIT $3",
    )
    .bind(owner.to_owned())
    .bind(after.cast_signed())
    .bind(most)
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| {
            let hash: Option<Vec<u8>> = row.try_get(2)?;
            Ok(TrailCursor {
                tailnet_id: row.try_get::<i64, _>(0)?.cast_unsigned(),
                place: TrailPlace {
                    sequence: row.try_get::<i64, _>(1)?.cast_unsigned(),
                    hash: hash.and_then(|hash| hash.try_into().ok()),
                },
            })
        })
        .collect()
}

/// Locks a cursor, unless another replica has moved it meanwhile; says whether it did.
pub async fn lock_cursor(
    on: &mut AnyConnection,
    owner: &str,
    cursor: &TrailCursor,
) -> Result<bool, DatabaseError> {
    let locked = sqlx::query(
        "UPDATE webhook_cursors SET sequence = sequence WHERE tailnet_id = $1 AND owner = $2 AND sequence = $3",
    )
    .bind(cursor.tailnet_id.cast_signed())
    .bind(owner.to_owned())
    .bind(cursor.place.sequence.cast_signed())
    .execute(on)
    .await?;
    Ok(locked.rows_affected() == 1)
}

/// Moves a cursor that is locked.
pub async fn move_cursor(
    on: &mut AnyConnection,
    owner: &str,
    tailnet_id: u64,
    place: &TrailPlace,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE webhook_cursors SET sequence = $3, hash = $4 WHERE tailnet_id = $1 AND owner = $2",
    )
    .bind(tailnet_id.cast_signed())
    .bind(owner.to_owned())
    .bind(place.sequence.cast_signed())
    .bind(place.hash.map(|hash| hash.to_vec()))
    .execute(on)
    .await?;
    Ok(())
}
