//! What SAML connections have beside the connection itself, and what was accepted once.

use bowline_db::{DatabaseError, from_micros, to_micros};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _};

/// A provider's metadata as it was loaded last.
#[derive(Clone, Debug)]
pub struct MetadataRow {
    /// The connection.
    pub connection_id: u64,
    /// The document.
    pub document: Vec<u8>,
    /// When it was loaded or given.
    pub loaded_at: DateTime<Utc>,
    /// When it is to be loaded again; `None` when it was given as a file.
    pub reload_at: Option<DateTime<Utc>>,
}

/// A key that requests are signed with.
#[derive(Clone, Debug)]
pub struct SigningKeyRow {
    /// The connection.
    pub connection_id: u64,
    /// Its number: the lowest signs.
    pub number: i64,
    /// Its certificate.
    pub certificate: Vec<u8>,
    /// The key, sealed.
    pub sealed_key: Vec<u8>,
}

/// Metadata that is to be loaded again.
#[derive(Clone, Copy, Debug)]
pub struct DueReload {
    /// The connection.
    pub connection_id: u64,
    /// Since when, in microseconds: whoever moves it on is the one who loads.
    pub due: i64,
}

/// Returns the metadata of a connection's provider.
pub async fn find_metadata<'e>(
    on: impl Executor<'e, Database = Any>,
    connection_id: u64,
) -> Result<Option<MetadataRow>, DatabaseError> {
    let query = sqlx::query(
        "SELECT document, loaded_at, reload_at FROM saml_metadata WHERE connection_id = $1",
    );
    let row = query
        .bind(connection_id.cast_signed())
        .fetch_optional(on)
        .await?;
    row.map(|row| {
        let loaded_at = from_micros(row.try_get("loaded_at")?);
        let reload_at: i64 = row.try_get("reload_at")?;
        Ok(MetadataRow {
            connection_id,
            document: row.try_get("document")?,
            loaded_at: loaded_at.ok_or_else(|| DatabaseError::Inconsistent {
                table: "saml_metadata",
                row: "its time is no time".to_owned(),
            })?,
            reload_at: from_micros(reload_at).filter(|_| reload_at != 0),
        })
    })
    .transpose()
}

/// Writes the metadata of a connection's provider, instead of what was there.
pub async fn put_metadata(on: &mut AnyConnection, row: &MetadataRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO saml_metadata (connection_id, document, loaded_at, reload_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (connection_id) DO UPDATE SET document = excluded.document, loaded_at = excluded.loaded_at,
             reload_at = excluded.reload_at",
    )
    .bind(row.connection_id.cast_signed())
    .bind(row.document.clone())
    .bind(to_micros(row.loaded_at))
    .bind(row.reload_at.map_or(0, to_micros))
    .execute(on)
    .await?;
    Ok(())
}

/// Returns metadata that is to be loaded again by now, the longest due first.
pub async fn list_due_reloads<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<Vec<DueReload>, DatabaseError> {
    let query = sqlx::query(
        "SELECT connection_id, reload_at FROM saml_metadata WHERE reload_at > 0 AND reload_at <= $1
         ORDER BY reload_at LIMIT 100",
    );
    let rows = query.bind(to_micros(now)).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            Ok(DueReload {
                connection_id: row.try_get::<i64, _>("connection_id")?.cast_unsigned(),
                due: row.try_get("reload_at")?,
            })
        })
        .collect()
}

/// Moves on when metadata is to be loaded again; says whether it still stood there. Of several replicas only one moves it.
pub async fn claim_reload(
    on: &mut AnyConnection,
    due: DueReload,
    next: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "UPDATE saml_metadata SET reload_at = $3 WHERE connection_id = $1 AND reload_at = $2",
    );
    let moved = query
        .bind(due.connection_id.cast_signed())
        .bind(due.due)
        .bind(to_micros(next))
        .execute(on)
        .await?;
    Ok(moved.rows_affected() == 1)
}

/// Returns the keys of a connection: the one that signs, then its successor.
pub async fn list_keys<'e>(
    on: impl Executor<'e, Database = Any>,
    connection_id: u64,
) -> Result<Vec<SigningKeyRow>, DatabaseError> {
    let query = sqlx::query(
        "SELECT connection_id, number, certificate, sealed_key FROM saml_keys WHERE connection_id = $1 ORDER BY number",
    );
    let query = query.bind(connection_id.cast_signed());
    read_keys(&query.fetch_all(on).await?)
}

/// Returns the keys of all connections.
pub async fn list_all_keys(on: &mut AnyConnection) -> Result<Vec<SigningKeyRow>, DatabaseError> {
    let query = "SELECT connection_id, number, certificate, sealed_key FROM saml_keys";
    read_keys(&sqlx::query(query).fetch_all(on).await?)
}

fn read_keys(rows: &[sqlx::any::AnyRow]) -> Result<Vec<SigningKeyRow>, DatabaseError> {
    rows.iter()
        .map(|row| {
            Ok(SigningKeyRow {
                connection_id: row.try_get::<i64, _>("connection_id")?.cast_unsigned(),
                number: row.try_get("number")?,
                certificate: row.try_get("certificate")?,
                sealed_key: row.try_get("sealed_key")?,
            })
        })
        .collect()
}

/// Writes a key, instead of the one with its number.
pub async fn put_key(on: &mut AnyConnection, row: &SigningKeyRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO saml_keys (connection_id, number, certificate, sealed_key) VALUES ($1, $2, $3, $4)
         ON CONFLICT (connection_id, number) DO UPDATE SET certificate = excluded.certificate,
             sealed_key = excluded.sealed_key",
    )
    .bind(row.connection_id.cast_signed())
    .bind(row.number)
    .bind(row.certificate.clone())
    .bind(row.sealed_key.clone())
    .execute(on)
    .await?;
    Ok(())
}

/// Removes a key.
pub async fn delete_key(
    on: &mut AnyConnection,
    connection_id: u64,
    number: i64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM saml_keys WHERE connection_id = $1 AND number = $2");
    query
        .bind(connection_id.cast_signed())
        .bind(number)
        .execute(on)
        .await?;
    Ok(())
}

/// Records that something a provider has signed is accepted; says whether it is for the first time.
pub async fn use_message(
    on: &mut AnyConnection,
    connection_id: u64,
    digest: &[u8],
    kept_until: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO used_messages (connection_id, digest, kept_until) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    );
    let inserted = query
        .bind(connection_id.cast_signed())
        .bind(digest.to_vec())
        .bind(to_micros(kept_until))
        .execute(on)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Forgets what could not be accepted any more before a time.
pub async fn forget_messages(
    on: &mut AnyConnection,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM used_messages WHERE kept_until < $1");
    query.bind(to_micros(before)).execute(on).await?;
    Ok(())
}
