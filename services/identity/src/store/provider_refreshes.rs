//! By what providers are asked whether they still vouch for people.

use bowline_db::{DatabaseError, SqlDialect, to_micros};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row as _, any::AnyRow};

use super::provider_sessions::ProviderSessionKey;

/// The refresh token of a person's last login by a connection.
#[derive(Clone, Debug)]
pub struct RefreshRow {
    /// The connection.
    pub connection_id: u64,
    /// The person at the provider.
    pub subject: String,
    /// The provider's session; empty when it named none.
    pub provider_session: String,
    /// The token, sealed.
    pub sealed_token: Vec<u8>,
    /// When it is to be asked, in microseconds: whoever moves it on is the one who asks.
    pub due_at: i64,
    /// Since when it is asked, in microseconds; zero when the last answer came.
    pub asked_at: i64,
}

/// A row that a replica asks about. Whoever has logged in again meanwhile has another row.
#[derive(Clone, Debug)]
pub struct RefreshClaim {
    /// The row as it was.
    pub row: RefreshRow,
    /// Since when it is asked about.
    pub asked_at: i64,
}

/// Writes a token, in place of the person's former one.
pub async fn put_refresh(on: &mut AnyConnection, row: &RefreshRow) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO provider_refreshes (connection_id, subject, provider_session, sealed_token, due_at, asked_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (connection_id, subject) DO UPDATE SET provider_session = excluded.provider_session,
             sealed_token = excluded.sealed_token, due_at = excluded.due_at, asked_at = excluded.asked_at",
    );
    query
        .bind(row.connection_id.cast_signed())
        .bind(row.subject.clone())
        .bind(row.provider_session.clone())
        .bind(row.sealed_token.clone())
        .bind(row.due_at)
        .bind(row.asked_at)
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the connections that have somebody to ask about by now.
pub async fn list_due_connections<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT connection_id FROM provider_refreshes WHERE due_at <= $1 GROUP BY connection_id
         ORDER BY MIN(due_at) LIMIT 1000",
    );
    let found = query.bind(to_micros(now)).fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Takes some of those whom a connection's provider is to be asked about by now, the longest due first, until `next`. Of several
/// replicas each takes others.
pub async fn claim_due(
    on: &mut AnyConnection,
    connection_id: u64,
    now: DateTime<Utc>,
    next: DateTime<Utc>,
    most: i64,
) -> Result<Vec<RefreshClaim>, DatabaseError> {
    // Who writes in SQLite is alone.
    let others = match SqlDialect::of(on) {
        SqlDialect::Postgres => "FOR UPDATE SKIP LOCKED",
        SqlDialect::Sqlite => "",
    };
    let query = format!(
        "SELECT subject, provider_session, sealed_token, due_at, asked_at FROM provider_refreshes
         WHERE connection_id = $1 AND due_at <= $2 ORDER BY due_at, subject LIMIT $3 {others}"
    );
    let query = sqlx::query(AssertSqlSafe(query)).bind(connection_id.cast_signed());
    let query = query.bind(to_micros(now)).bind(most);
    let rows = query.fetch_all(&mut *on).await?;
    let read = |row: &AnyRow| {
        let row = RefreshRow {
            connection_id,
            subject: row.try_get("subject")?,
            provider_session: row.try_get("provider_session")?,
            sealed_token: row.try_get("sealed_token")?,
            due_at: row.try_get("due_at")?,
            asked_at: row.try_get("asked_at")?,
        };
        let asked_at = to_micros(now);
        Ok::<_, DatabaseError>(RefreshClaim { row, asked_at })
    };
    let claimed: Vec<_> = rows.iter().map(read).collect::<Result<_, _>>()?;
    for RefreshClaim { row, asked_at } in &claimed {
        let query = sqlx::query(
            "UPDATE provider_refreshes SET due_at = $3, asked_at = $4 WHERE connection_id = $1 AND subject = $2",
        );
        let query = query
            .bind(connection_id.cast_signed())
            .bind(row.subject.clone());
        let query = query.bind(to_micros(next)).bind(*asked_at);
        query.execute(&mut *on).await?;
    }
    Ok(claimed)
}

/// Lets everybody of a connection who was to be asked about at a time be asked about later.
pub async fn postpone_due(
    on: &mut AnyConnection,
    connection_id: u64,
    due: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "UPDATE provider_refreshes SET due_at = $3 WHERE connection_id = $1 AND due_at <= $2",
    );
    let query = query.bind(connection_id.cast_signed()).bind(to_micros(due));
    query.bind(to_micros(until)).execute(on).await?;
    Ok(())
}

/// Writes what became of asking, unless the person has logged in again meanwhile; says whether it was written.
pub async fn finish_refresh(
    on: &mut AnyConnection,
    claim: &RefreshClaim,
    next: &RefreshRow,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "UPDATE provider_refreshes SET sealed_token = $4, due_at = $5, asked_at = $6
         WHERE connection_id = $1 AND subject = $2 AND asked_at = $3",
    );
    let written = query
        .bind(claim.row.connection_id.cast_signed())
        .bind(claim.row.subject.clone())
        .bind(claim.asked_at)
        .bind(next.sealed_token.clone())
        .bind(next.due_at)
        .bind(next.asked_at)
        .execute(on)
        .await?;
    Ok(written.rows_affected() == 1)
}

/// Forgets a token that is asked with; says whether it was still there.
pub async fn delete_claimed(
    on: &mut AnyConnection,
    claim: &RefreshClaim,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "DELETE FROM provider_refreshes WHERE connection_id = $1 AND subject = $2 AND asked_at = $3",
    );
    let gone = query
        .bind(claim.row.connection_id.cast_signed())
        .bind(claim.row.subject.clone())
        .bind(claim.asked_at)
        .execute(on)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// Forgets a token; says whether it was still there.
pub async fn delete_refresh(
    on: &mut AnyConnection,
    row: &RefreshRow,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "DELETE FROM provider_refreshes WHERE connection_id = $1 AND subject = $2 AND sealed_token = $3",
    );
    let gone = query
        .bind(row.connection_id.cast_signed())
        .bind(row.subject.clone())
        .bind(row.sealed_token.clone())
        .execute(on)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// Forgets the token of a person who has logged out at the provider: of one session there, or (`None`) of all. A token of which
/// it is not known which session's it is goes with each.
pub async fn end_refresh(
    on: &mut AnyConnection,
    connection_id: u64,
    subject: &str,
    provider_session: Option<&str>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "DELETE FROM provider_refreshes WHERE connection_id = $1 AND subject = $2
         AND ($3 = '' OR provider_session = '' OR provider_session = $3)",
    );
    query
        .bind(connection_id.cast_signed())
        .bind(subject.to_owned())
        .bind(provider_session.unwrap_or_default().to_owned())
        .execute(on)
        .await?;
    Ok(())
}

/// Forgets the token of a session at the provider.
pub async fn end_of_session(
    on: &mut AnyConnection,
    key: ProviderSessionKey<'_>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "DELETE FROM provider_refreshes WHERE connection_id = $1 AND provider_session = $2",
    );
    let query = query.bind(key.connection_id.cast_signed());
    query
        .bind(key.provider_session.to_owned())
        .execute(on)
        .await?;
    Ok(())
}

/// Forgets the tokens of a user: of one connection, or (zero) of all.
pub async fn end_of_user(
    on: &mut AnyConnection,
    user_id: u64,
    connection_id: u64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "DELETE FROM provider_refreshes WHERE ($2 = 0 OR connection_id = $2) AND EXISTS (
             SELECT 1 FROM provider_identities AS known WHERE known.user_id = $1
                 AND known.connection_id = provider_refreshes.connection_id
                 AND known.subject = provider_refreshes.subject)",
    );
    let query = query.bind(user_id.cast_signed());
    query.bind(connection_id.cast_signed()).execute(on).await?;
    Ok(())
}

/// Lets a connection's people be asked about no later than at a time.
pub async fn limit_due(
    on: &mut AnyConnection,
    connection_id: u64,
    latest: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "UPDATE provider_refreshes SET due_at = $2 WHERE connection_id = $1 AND due_at > $2",
    );
    let query = query.bind(connection_id.cast_signed());
    query.bind(to_micros(latest)).execute(on).await?;
    Ok(())
}

/// Forgets the tokens of all people of a connection.
pub async fn end_of_connection(
    on: &mut AnyConnection,
    connection_id: u64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM provider_refreshes WHERE connection_id = $1");
    query.bind(connection_id.cast_signed()).execute(on).await?;
    Ok(())
}

/// Makes everybody of a connection due now, but for those who are asked about at this moment: their rows were taken within
/// `claim`. Returns how many people.
pub async fn hasten_refreshes(
    on: &mut AnyConnection,
    connection_id: u64,
    now: DateTime<Utc>,
    claim: TimeDelta,
) -> Result<u64, DatabaseError> {
    // Of an answer that was lost the next time is later than of a row that is taken.
    let query = sqlx::query(
        "UPDATE provider_refreshes SET due_at = $2
         WHERE connection_id = $1 AND (asked_at = 0 OR asked_at < $3 OR due_at > $4)",
    );
    let query = query
        .bind(connection_id.cast_signed())
        .bind(to_micros(now))
        .bind(to_micros(now - claim))
        .bind(to_micros(now + claim));
    Ok(query.execute(on).await?.rows_affected())
}
