//! Users who are suspended or gone, as identity's log says.

use bowline_db::DatabaseError;
use bowline_proto::key_registry::v1::Node;
use sqlx::{Any, AnyConnection, Executor, Row as _};

use crate::domain::rotation::KeyOwner;

/// Finds whether a user, `$2`, of a tailnet, `$1`, was barred after a revision of identity's log, `$3`.
// The cast keeps SQLite from planning the statement anew for each revision.
pub(super) const BARRED_SINCE: &str = "SELECT 1 FROM barred_users
     JOIN identity_progress ON identity_progress.tailnet_id = barred_users.tailnet_id
     WHERE barred_users.tailnet_id = $1 AND user_id = $2 AND revision > CAST($3 AS BIGINT)";

/// Says whether a node's user is suspended or gone.
pub async fn is_barred<'e>(
    on: impl Executor<'e, Database = Any>,
    node: &Node,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("SELECT 1 FROM barred_users WHERE tailnet_id = $1 AND user_id = $2")
        .bind(node.tailnet_id.cast_signed())
        .bind(node.user_id.cast_signed());
    Ok(query.fetch_optional(on).await?.is_some())
}

/// Says whether a user was barred after a revision of identity's log.
pub async fn is_barred_since(
    on: &mut AnyConnection,
    owner: &KeyOwner,
    identity_revision: u64,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(BARRED_SINCE)
        .bind(owner.tailnet_id.cast_signed())
        .bind(owner.user_id.cast_signed())
        .bind(identity_revision.cast_signed());
    Ok(query.fetch_optional(on).await?.is_some())
}

/// Returns how far identity's log is applied to a tailnet.
pub async fn applied_revision(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<u64, DatabaseError> {
    let query = sqlx::query_scalar("SELECT revision FROM identity_progress WHERE tailnet_id = $1");
    let found: Option<i64> = query
        .bind(tailnet_id.cast_signed())
        .fetch_optional(on)
        .await?;
    Ok(found.map_or(0, i64::cast_unsigned))
}

/// Notes how far identity's log is applied to a tailnet.
pub async fn set_applied_revision(
    on: &mut AnyConnection,
    tailnet_id: u64,
    revision: u64,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO identity_progress (tailnet_id, revision) VALUES ($1, $2)
         ON CONFLICT (tailnet_id) DO UPDATE SET revision = excluded.revision",
    )
    .bind(tailnet_id.cast_signed())
    .bind(revision.cast_signed())
    .execute(on)
    .await?;
    Ok(())
}

/// Notes whether a user is barred, and says whether that is new.
pub async fn set_barred(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
    is_barred: bool,
) -> Result<bool, DatabaseError> {
    let sql = if is_barred {
        "INSERT INTO barred_users (tailnet_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM barred_users WHERE tailnet_id = $1 AND user_id = $2"
    };
    let query = sqlx::query(sql)
        .bind(tailnet_id.cast_signed())
        .bind(user_id.cast_signed());
    Ok(query.execute(on).await?.rows_affected() > 0)
}

/// Returns the barred users of a tailnet.
pub async fn of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query("SELECT user_id FROM barred_users WHERE tailnet_id = $1");
    let rows = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    rows.iter()
        .map(|row| Ok(row.try_get::<i64, _>(0)?.cast_unsigned()))
        .collect()
}
