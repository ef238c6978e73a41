//! API keys, OAuth clients and their access tokens.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_tokens::TokenKind;
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row as _, any::AnyRow};

/// A credential as it is stored.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// Its identifier.
    pub id: String,
    /// What it is.
    pub kind: TokenKind,
    /// Its tailnet.
    pub tailnet_id: u64,
    /// The user of an API key; zero for the others.
    pub user_id: u64,
    /// The client of an access token; empty for the others.
    pub client_id: String,
    /// SHA-256 of its text.
    pub hash: Vec<u8>,
    /// What it is for: scopes, tags, description, encoded.
    pub body: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, kind, tailnet_id, user_id, client_id, hash, body, created_at, expires_at, revoked_at, last_used_at";

fn read_row(row: &AnyRow) -> Result<CredentialRow, DatabaseError> {
    let inconsistent = |problem: &str| DatabaseError::Inconsistent {
        table: "credentials",
        row: problem.to_owned(),
    };
    let time = |name: &str| -> Result<Option<DateTime<Utc>>, DatabaseError> {
        let micros: Option<i64> = row.try_get(name)?;
        let Some(micros) = micros else {
            return Ok(None);
        };
        let time = from_micros(micros).ok_or_else(|| inconsistent("a time is none"))?;
        Ok(Some(time))
    };
    let kind: String = row.try_get("kind")?;
    let kind = TokenKind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind);
    Ok(CredentialRow {
        id: row.try_get("id")?,
        kind: kind.ok_or_else(|| inconsistent("its kind is not known"))?,
        tailnet_id: row.try_get::<i64, _>("tailnet_id")?.cast_unsigned(),
        user_id: row.try_get::<i64, _>("user_id")?.cast_unsigned(),
        client_id: row.try_get("client_id")?,
        hash: row.try_get("hash")?,
        body: row.try_get("body")?,
        created_at: time("created_at")?.ok_or_else(|| inconsistent("it was made at no time"))?,
        expires_at: time("expires_at")?,
        revoked_at: time("revoked_at")?,
        last_used_at: time("last_used_at")?,
    })
}

/// Returns a credential.
pub async fn find_credential<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
) -> Result<Option<CredentialRow>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM credentials WHERE id = $1");
    let query = sqlx::query(AssertSqlSafe(query)).bind(id.to_owned());
    let row = query.fetch_optional(on).await?;
    row.as_ref().map(read_row).transpose()
}

/// Returns the credentials of a kind that a tailnet has, newest first.
pub async fn list_credentials<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    kind: TokenKind,
) -> Result<Vec<CredentialRow>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM credentials WHERE tailnet_id = $1 AND kind = $2 ORDER BY created_at DESC, id"
    );
    let query = sqlx::query(AssertSqlSafe(query))
        .bind(tailnet_id.cast_signed())
        .bind(kind.as_str());
    query.fetch_all(on).await?.iter().map(read_row).collect()
}

/// Counts the credentials of a kind that have not ended: of a tailnet and, unless it is zero, of a user.
pub async fn count_live(
    on: &mut AnyConnection,
    tailnet_id: u64,
    kind: TokenKind,
    user_id: u64,
    now: DateTime<Utc>,
) -> Result<i64, DatabaseError> {
    let query = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM credentials
         WHERE tailnet_id = $1 AND kind = $2 AND (user_id = $3 OR $3 = 0) AND revoked_at IS NULL
             AND (expires_at IS NULL OR expires_at > $4)",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(kind.as_str())
        .bind(user_id.cast_signed())
        .bind(to_micros(now));
    Ok(query.fetch_one(on).await?)
}

/// Counts the access tokens of a client that have not ended.
pub async fn count_live_of_client(
    on: &mut AnyConnection,
    client_id: &str,
    now: DateTime<Utc>,
) -> Result<i64, DatabaseError> {
    let query =
        "SELECT CAST(COUNT(*) AS BIGINT) FROM credentials WHERE client_id = $1 AND expires_at > $2";
    let query = sqlx::query_scalar(query)
        .bind(client_id.to_owned())
        .bind(to_micros(now));
    Ok(query.fetch_one(on).await?)
}

/// Writes a new credential.
pub async fn insert_credential(
    on: &mut AnyConnection,
    row: &CredentialRow,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO credentials (id, kind, tailnet_id, user_id, client_id, hash, body, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(row.id.clone())
    .bind(row.kind.as_str())
    .bind(row.tailnet_id.cast_signed())
    .bind(row.user_id.cast_signed())
    .bind(row.client_id.clone())
    .bind(row.hash.clone())
    .bind(row.body.clone())
    .bind(to_micros(row.created_at))
    .bind(row.expires_at.map(to_micros))
    .execute(on)
    .await?;
    Ok(())
}

/// Revokes a credential, and deletes the access tokens of a client.
pub async fn revoke_credential(
    on: &mut AnyConnection,
    id: &str,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE credentials SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id.to_owned())
        .bind(to_micros(now))
        .execute(&mut *on)
        .await?;
    sqlx::query("DELETE FROM credentials WHERE client_id = $1")
        .bind(id.to_owned())
        .execute(on)
        .await?;
    Ok(())
}

/// Deletes the API keys of a user.
pub async fn delete_of_user(on: &mut AnyConnection, user_id: u64) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM credentials WHERE user_id = $1")
        .bind(user_id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Deletes all of a tailnet.
pub async fn delete_of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM credentials WHERE tailnet_id = $1")
        .bind(tailnet_id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Records that credentials were used, unless that was recorded after `before`.
pub async fn record_use(
    on: &mut AnyConnection,
    ids: [&str; 2],
    now: DateTime<Utc>,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "UPDATE credentials SET last_used_at = $3
         WHERE id IN ($1, $2) AND (last_used_at IS NULL OR last_used_at <= $4)",
    );
    query
        .bind(ids[0].to_owned())
        .bind(ids[1].to_owned())
        .bind(to_micros(now))
        .bind(to_micros(before))
        .execute(on)
        .await?;
    Ok(())
}

/// Deletes access tokens that have ended, and other credentials that ended before a time.
pub async fn forget_ended(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "DELETE FROM credentials
         WHERE (client_id <> '' AND expires_at < $1) OR expires_at < $2 OR revoked_at < $2",
    )
    .bind(to_micros(now))
    .bind(to_micros(before))
    .execute(on)
    .await?;
    Ok(())
}
