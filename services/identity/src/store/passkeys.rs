//! Passkeys of people.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::identity::v1::Passkey;
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

use super::decode_body;

/// A passkey as it is stored.
#[derive(Clone, Debug)]
pub struct PasskeyRow {
    /// The passkey.
    pub passkey: Passkey,
    /// What the browser names it by.
    pub credential_id: Vec<u8>,
    /// The public key with its counter, as JSON.
    pub credential: String,
}

fn read_row(row: &AnyRow) -> Result<PasskeyRow, DatabaseError> {
    Ok(PasskeyRow {
        passkey: decode_body("passkeys", row)?,
        credential_id: row.try_get("credential_id")?,
        credential: row.try_get("credential")?,
    })
}

/// Returns the passkey that a browser names.
pub async fn find_passkey<'e>(
    on: impl Executor<'e, Database = Any>,
    credential_id: &[u8],
) -> Result<Option<PasskeyRow>, DatabaseError> {
    let query = "SELECT body, credential_id, credential FROM passkeys WHERE credential_id = $1";
    let found = sqlx::query(query).bind(credential_id.to_vec());
    found
        .fetch_optional(on)
        .await?
        .as_ref()
        .map(read_row)
        .transpose()
}

/// Returns the passkeys of a user, newest first.
pub async fn list_passkeys<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    user_id: u64,
) -> Result<Vec<PasskeyRow>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body, credential_id, credential FROM passkeys WHERE tailnet_id = $1 AND user_id = $2
         ORDER BY created_at DESC, id",
    );
    let rows = query
        .bind(tailnet_id.cast_signed())
        .bind(user_id.cast_signed())
        .fetch_all(on)
        .await?;
    rows.iter().map(read_row).collect()
}

/// Writes a new passkey.
pub async fn insert_passkey(
    on: &mut AnyConnection,
    row: &PasskeyRow,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO passkeys (id, tailnet_id, user_id, credential_id, created_at, body, credential)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    );
    query
        .bind(row.passkey.id.clone())
        .bind(row.passkey.tailnet_id.cast_signed())
        .bind(row.passkey.user_id.cast_signed())
        .bind(row.credential_id.clone())
        .bind(to_micros(now))
        .bind(row.passkey.encode_to_vec())
        .bind(row.credential.clone())
        .execute(on)
        .await?;
    Ok(())
}

/// Writes what a login has changed: the last use, and the counter in the credential.
pub async fn update_passkey(on: &mut AnyConnection, row: &PasskeyRow) -> Result<(), DatabaseError> {
    let query = sqlx::query("UPDATE passkeys SET body = $2, credential = $3 WHERE id = $1");
    query
        .bind(row.passkey.id.clone())
        .bind(row.passkey.encode_to_vec())
        .bind(row.credential.clone())
        .execute(on)
        .await?;
    Ok(())
}

/// Deletes a passkey of a user; says whether it was there.
pub async fn delete_passkey(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
    id: &str,
) -> Result<bool, DatabaseError> {
    let query =
        sqlx::query("DELETE FROM passkeys WHERE tailnet_id = $1 AND user_id = $2 AND id = $3");
    let gone = query
        .bind(tailnet_id.cast_signed())
        .bind(user_id.cast_signed())
        .bind(id.to_owned())
        .execute(on)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// Deletes what lets a user in: passkeys and sessions.
pub async fn delete_ways_in(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
) -> Result<(), DatabaseError> {
    for query in [
        "DELETE FROM passkeys WHERE tailnet_id = $1 AND user_id = $2",
        "DELETE FROM sessions WHERE tailnet_id = $1 AND user_id = $2",
    ] {
        sqlx::query(query)
            .bind(tailnet_id.cast_signed())
            .bind(user_id.cast_signed())
            .execute(&mut *on)
            .await?;
    }
    Ok(())
}
