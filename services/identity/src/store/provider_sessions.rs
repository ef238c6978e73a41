//! Sessions of people at OpenID Connect providers.

use bowline_db::{DatabaseError, to_micros};
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

/// A session at a provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderSessionKey<'a> {
    /// The connection.
    pub connection_id: u64,
    /// What the provider calls the session.
    pub provider_session: &'a str,
}

/// Records whose a provider's session is.
pub async fn put_provider_session(
    on: &mut AnyConnection,
    key: ProviderSessionKey<'_>,
    subject: &str,
    kept_until: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO provider_sessions (connection_id, provider_session, subject, kept_until) VALUES ($1, $2, $3, $4)
         ON CONFLICT (connection_id, provider_session) DO UPDATE SET subject = excluded.subject,
             kept_until = excluded.kept_until",
    )
    .bind(key.connection_id.cast_signed())
    .bind(key.provider_session.to_owned())
    .bind(subject.to_owned())
    .bind(to_micros(kept_until))
    .execute(on)
    .await?;
    Ok(())
}

/// Returns whose a provider's session is.
pub async fn find_subject(
    on: &mut AnyConnection,
    key: ProviderSessionKey<'_>,
) -> Result<Option<String>, DatabaseError> {
    let query = sqlx::query_scalar(
        "SELECT subject FROM provider_sessions WHERE connection_id = $1 AND provider_session = $2",
    );
    let query = query.bind(key.connection_id.cast_signed());
    let query = query.bind(key.provider_session.to_owned());
    Ok(query.fetch_optional(on).await?)
}

/// Forgets the provider's sessions that are kept until a time.
pub async fn forget_provider_sessions(
    on: &mut AnyConnection,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM provider_sessions WHERE kept_until < $1");
    query.bind(to_micros(before)).execute(on).await?;
    Ok(())
}
