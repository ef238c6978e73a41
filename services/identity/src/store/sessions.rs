//! Sessions of people in browsers.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::{identity::v1::Session, time::to_timestamp};
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row as _, any::AnyRow};

use super::decode_body;

/// A session as it is stored.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The session.
    pub session: Session,
    /// SHA-256 of what the browser proves it by.
    pub secret_hash: Vec<u8>,
    /// When it was used last, to the minute.
    pub last_used_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
    /// What a passkey that is being added has to answer, sealed.
    pub ceremony: Option<Vec<u8>>,
    /// The provider's session that opened it, where the provider named one.
    pub provider_session: Option<String>,
    /// The provider's ID token, sealed.
    pub id_token: Option<Vec<u8>>,
}

const COLUMNS: &str =
    "body, secret_hash, last_used_at, expires_at, ceremony, provider_session, id_token";

const INCONSISTENT: &str = "a time is none";

fn read_row(row: &AnyRow) -> Result<SessionRow, DatabaseError> {
    let time = |name: &str| {
        from_micros(row.try_get(name)?).ok_or_else(|| DatabaseError::Inconsistent {
            table: "sessions",
            row: INCONSISTENT.to_owned(),
        })
    };
    let last_used_at = time("last_used_at")?;
    let mut session: Session = decode_body("sessions", row)?;
    session.last_used_at = Some(to_timestamp(last_used_at));
    Ok(SessionRow {
        session,
        secret_hash: row.try_get("secret_hash")?,
        last_used_at,
        expires_at: time("expires_at")?,
        ceremony: row.try_get("ceremony")?,
        provider_session: row.try_get("provider_session")?,
        id_token: row.try_get("id_token")?,
    })
}

/// Returns a session.
pub async fn find_session<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
) -> Result<Option<SessionRow>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM sessions WHERE id = $1");
    let query = sqlx::query(AssertSqlSafe(query));
    let found = query.bind(id.to_owned()).fetch_optional(on);
    found.await?.as_ref().map(read_row).transpose()
}

/// Returns the sessions of a tailnet, or of one user (zero: of all), newest first.
pub async fn list_sessions<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    user_id: u64,
) -> Result<Vec<SessionRow>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM sessions
         WHERE tailnet_id = $1 AND ($2 = 0 OR user_id = $2) ORDER BY created_at DESC, id LIMIT 1000"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tailnet_id.cast_signed())
        .bind(user_id.cast_signed())
        .fetch_all(on)
        .await?;
    rows.iter().map(read_row).collect()
}

/// Writes a new session.
pub async fn insert_session(on: &mut AnyConnection, row: &SessionRow) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO sessions (id, tailnet_id, user_id, secret_hash, created_at, last_used_at, expires_at, body)
         VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
    );
    query
        .bind(row.session.id.clone())
        .bind(row.session.tailnet_id.cast_signed())
        .bind(row.session.user_id.cast_signed())
        .bind(row.secret_hash.clone())
        .bind(to_micros(row.last_used_at))
        .bind(to_micros(row.expires_at))
        .bind(row.session.encode_to_vec())
        .execute(on)
        .await?;
    Ok(())
}

/// Records which session of a provider opened one, and the provider's sealed ID token.
pub async fn put_provider_login(
    on: &mut AnyConnection,
    id: &str,
    provider_session: Option<String>,
    id_token: Option<Vec<u8>>,
) -> Result<(), DatabaseError> {
    let query =
        sqlx::query("UPDATE sessions SET provider_session = $2, id_token = $3 WHERE id = $1");
    let query = query.bind(id.to_owned()).bind(provider_session);
    query.bind(id_token).execute(on).await?;
    Ok(())
}

/// Notes that a session is used.
pub async fn note_use(
    on: &mut AnyConnection,
    id: &str,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("UPDATE sessions SET last_used_at = $2 WHERE id = $1");
    query
        .bind(id.to_owned())
        .bind(to_micros(now))
        .execute(on)
        .await?;
    Ok(())
}

/// Keeps what a passkey that is being added has to answer, in place of what was kept before.
pub async fn put_ceremony(
    on: &mut AnyConnection,
    id: &str,
    ceremony: Vec<u8>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("UPDATE sessions SET ceremony = $2 WHERE id = $1");
    query.bind(id.to_owned()).bind(ceremony).execute(on).await?;
    Ok(())
}

/// Forgets what a passkey has to answer; says whether it was there. Of several at once only one is told so.
pub async fn take_ceremony(
    on: &mut AnyConnection,
    id: &str,
    ceremony: &[u8],
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("UPDATE sessions SET ceremony = NULL WHERE id = $1 AND ceremony = $2");
    let taken = query
        .bind(id.to_owned())
        .bind(ceremony.to_vec())
        .execute(on)
        .await?;
    Ok(taken.rows_affected() == 1)
}

/// Deletes a session of a tailnet; says whether it was there.
pub async fn delete_session(
    on: &mut AnyConnection,
    tailnet_id: u64,
    id: &str,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("DELETE FROM sessions WHERE tailnet_id = $1 AND id = $2");
    let gone = query
        .bind(tailnet_id.cast_signed())
        .bind(id.to_owned())
        .execute(on)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// Deletes the sessions of a user but for the newest ones.
pub async fn keep_newest_sessions(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
    kept: i64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "DELETE FROM sessions WHERE tailnet_id = $1 AND user_id = $2 AND id NOT IN (
             SELECT id FROM sessions WHERE tailnet_id = $1 AND user_id = $2 ORDER BY created_at DESC, id LIMIT $3)",
    );
    query
        .bind(tailnet_id.cast_signed())
        .bind(user_id.cast_signed())
        .bind(kept)
        .execute(on)
        .await?;
    Ok(())
}

/// Deletes the sessions that have ended by themselves.
pub async fn forget_sessions(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM sessions WHERE expires_at < $1");
    query.bind(to_micros(now)).execute(on).await?;
    Ok(())
}
