//! Links that let one person in.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::identity::v1::Invitation;
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _};

use super::{decode_bodies, decode_body};

/// A link as it is stored.
#[derive(Clone, Debug)]
pub struct InvitationRow {
    /// The invitation.
    pub invitation: Invitation,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends unused.
    pub expires_at: DateTime<Utc>,
}

/// Returns a link that was not used.
pub async fn find_invitation<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
) -> Result<Option<InvitationRow>, DatabaseError> {
    let query = "SELECT body, secret_hash, created_at, expires_at FROM invitations WHERE id = $1";
    let found = sqlx::query(query).bind(id.to_owned()).fetch_optional(on);
    let Some(row) = found.await? else {
        return Ok(None);
    };
    let time = |name: &str| {
        from_micros(row.try_get(name)?).ok_or_else(|| DatabaseError::Inconsistent {
            table: "invitations",
            row: "a time is none".to_owned(),
        })
    };
    Ok(Some(InvitationRow {
        invitation: decode_body("invitations", &row)?,
        secret_hash: row.try_get("secret_hash")?,
        created_at: time("created_at")?,
        expires_at: time("expires_at")?,
    }))
}

/// Returns the links of a tailnet that can still be used, newest first.
pub async fn list_invitations<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    now: DateTime<Utc>,
) -> Result<Vec<Invitation>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM invitations WHERE tailnet_id = $1 AND expires_at > $2
         ORDER BY created_at DESC, id LIMIT 1000",
    );
    let rows = query
        .bind(tailnet_id.cast_signed())
        .bind(to_micros(now))
        .fetch_all(on)
        .await?;
    decode_bodies("invitations", &rows)
}

/// Counts the links of a tailnet that can still be used.
pub async fn count_invitations(
    on: &mut AnyConnection,
    tailnet_id: u64,
    now: DateTime<Utc>,
) -> Result<i64, DatabaseError> {
    let query = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM invitations WHERE tailnet_id = $1 AND expires_at > $2",
    );
    let count = query.bind(tailnet_id.cast_signed()).bind(to_micros(now));
    Ok(count.fetch_one(on).await?)
}

/// Writes a new link.
pub async fn insert_invitation(
    on: &mut AnyConnection,
    row: &InvitationRow,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO invitations (id, tailnet_id, secret_hash, created_at, expires_at, body)
         VALUES ($1, $2, $3, $4, $5, $6)",
    );
    query
        .bind(row.invitation.id.clone())
        .bind(row.invitation.tailnet_id.cast_signed())
        .bind(row.secret_hash.clone())
        .bind(to_micros(row.created_at))
        .bind(to_micros(row.expires_at))
        .bind(row.invitation.encode_to_vec())
        .execute(on)
        .await?;
    Ok(())
}

/// Deletes a link of a tailnet; says whether it was there. Of several at once only one is told so.
pub async fn delete_invitation(
    on: &mut AnyConnection,
    tailnet_id: u64,
    id: &str,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("DELETE FROM invitations WHERE tailnet_id = $1 AND id = $2");
    let gone = query
        .bind(tailnet_id.cast_signed())
        .bind(id.to_owned())
        .execute(on)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// Deletes the links that have ended unused.
pub async fn forget_invitations(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM invitations WHERE expires_at < $1");
    query.bind(to_micros(now)).execute(on).await?;
    Ok(())
}
