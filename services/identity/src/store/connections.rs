//! Connections to identity providers, and who is who there.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::{
    identity::v1::{Connection, UserLink},
    time::to_timestamp,
};
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

use super::{decode_bodies, decode_body};

/// A connection with its client's sealed secret.
#[derive(Clone, Debug)]
pub struct StoredConnection {
    /// The connection.
    pub connection: Connection,
    /// The sealed secret; `None` for a public client.
    pub sealed_secret: Option<Vec<u8>>,
}

/// A sealed secret of a connection.
#[derive(Clone, Debug)]
pub struct SealedSecret {
    /// The connection.
    pub connection_id: u64,
    /// The secret.
    pub sealed: Vec<u8>,
}

/// A person at a provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderSubject<'a> {
    /// The connection.
    pub connection_id: u64,
    /// The provider.
    pub issuer: &'a str,
    /// The person there.
    pub subject: &'a str,
}

/// Returns a connection, whosever it is.
pub async fn find_connection<'e>(
    on: impl Executor<'e, Database = Any>,
    id: u64,
) -> Result<Option<StoredConnection>, DatabaseError> {
    let query = sqlx::query("SELECT body, sealed_secret FROM connections WHERE id = $1");
    let row = query.bind(id.cast_signed()).fetch_optional(on).await?;
    row.map(|row| {
        Ok(StoredConnection {
            connection: decode_body("connections", &row)?,
            sealed_secret: row.try_get("sealed_secret")?,
        })
    })
    .transpose()
}

/// Returns the connections of a tailnet by name.
pub async fn list_connections<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<Connection>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM connections WHERE tailnet_id = $1 ORDER BY name");
    decode_bodies(
        "connections",
        &query.bind(tailnet_id.cast_signed()).fetch_all(on).await?,
    )
}

/// Returns all sealed secrets, with the numbers of their connections.
pub async fn list_sealed_secrets(
    on: &mut AnyConnection,
) -> Result<Vec<SealedSecret>, DatabaseError> {
    let query =
        "SELECT id, sealed_secret FROM connections WHERE sealed_secret IS NOT NULL ORDER BY id";
    let rows = sqlx::query(query).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            Ok(SealedSecret {
                connection_id: row.try_get::<i64, _>("id")?.cast_unsigned(),
                sealed: row.try_get("sealed_secret")?,
            })
        })
        .collect()
}

/// Puts a secret that was sealed again in place of the same one.
pub async fn replace_sealed_secret(
    on: &mut AnyConnection,
    before: &SealedSecret,
    sealed: Vec<u8>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "UPDATE connections SET sealed_secret = $3 WHERE id = $1 AND sealed_secret = $2",
    );
    query
        .bind(before.connection_id.cast_signed())
        .bind(before.sealed.clone())
        .bind(sealed)
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the tailnet whose connections have a mail domain.
pub async fn find_tailnet_of_domain<'e>(
    on: impl Executor<'e, Database = Any>,
    domain: &str,
) -> Result<Option<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT tailnet_id FROM connection_domains WHERE domain = $1 LIMIT 1",
    );
    let found = query.bind(domain.to_owned()).fetch_optional(on).await?;
    Ok(found.map(i64::cast_unsigned))
}

/// Writes a connection and its domains.
pub async fn put_connection(
    on: &mut AnyConnection,
    row: &StoredConnection,
) -> Result<(), DatabaseError> {
    let StoredConnection {
        connection,
        sealed_secret,
    } = row;
    let (id, tailnet) = (
        connection.id.cast_signed(),
        connection.tailnet_id.cast_signed(),
    );
    sqlx::query(
        "INSERT INTO connections (id, tailnet_id, name, body, sealed_secret) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, body = excluded.body,
             sealed_secret = excluded.sealed_secret",
    )
    .bind(id)
    .bind(tailnet)
    .bind(connection.name.clone())
    .bind(connection.encode_to_vec())
    .bind(sealed_secret.clone())
    .execute(&mut *on)
    .await?;
    delete_domains(on, id).await?;
    for domain in &connection.domains {
        sqlx::query("INSERT INTO connection_domains (domain, connection_id, tailnet_id) VALUES ($1, $2, $3)")
            .bind(domain.clone())
            .bind(id)
            .bind(tailnet)
            .execute(&mut *on)
            .await?;
    }
    Ok(())
}

/// Removes a connection, with who is who there and the attempts that are under way.
pub async fn delete_connection(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    let id = id.cast_signed();
    delete_domains(on, id).await?;
    for query in [
        "DELETE FROM provider_identities WHERE connection_id = $1",
        "DELETE FROM login_attempts WHERE connection_id = $1",
        "DELETE FROM saml_metadata WHERE connection_id = $1",
        "DELETE FROM saml_keys WHERE connection_id = $1",
        "DELETE FROM used_messages WHERE connection_id = $1",
        "DELETE FROM provider_sessions WHERE connection_id = $1",
        "DELETE FROM provider_refreshes WHERE connection_id = $1",
        "DELETE FROM connections WHERE id = $1",
    ] {
        sqlx::query(query).bind(id).execute(&mut *on).await?;
    }
    Ok(())
}

/// Removes the connections and conditions of a tailnet, with all that belongs to them.
pub async fn delete_of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<(), DatabaseError> {
    for connection in list_connections(&mut *on, tailnet_id).await? {
        delete_connection(on, connection.id).await?;
    }
    super::conditions::delete_of_tailnet(on, tailnet_id).await?;
    Ok(())
}

async fn delete_domains(on: &mut AnyConnection, id: i64) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM connection_domains WHERE connection_id = $1");
    query.bind(id).execute(on).await?;
    Ok(())
}

/// Returns the number of the user who a person is.
pub async fn find_linked_user(
    on: &mut AnyConnection,
    subject: ProviderSubject<'_>,
) -> Result<Option<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT user_id FROM provider_identities WHERE connection_id = $1 AND issuer = $2 AND subject = $3",
    );
    let found = query
        .bind(subject.connection_id.cast_signed())
        .bind(subject.issuer.to_owned())
        .bind(subject.subject.to_owned())
        .fetch_optional(on)
        .await?;
    Ok(found.map(i64::cast_unsigned))
}

/// Returns who a user is at providers, oldest first.
pub async fn list_links<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    user_id: u64,
) -> Result<Vec<UserLink>, DatabaseError> {
    let query = sqlx::query(
        "SELECT i.connection_id, c.name, i.issuer, i.subject, i.linked_at
         FROM provider_identities i JOIN connections c ON c.id = i.connection_id
         WHERE i.tailnet_id = $1 AND i.user_id = $2
         ORDER BY i.linked_at, i.connection_id, i.subject",
    );
    let rows = query
        .bind(tailnet_id.cast_signed())
        .bind(user_id.cast_signed())
        .fetch_all(on)
        .await?;
    let read = |row: &AnyRow| {
        let linked_at = from_micros(row.try_get("linked_at")?);
        Ok(UserLink {
            connection_id: row.try_get::<i64, _>("connection_id")?.cast_unsigned(),
            connection_name: row.try_get("name")?,
            issuer: row.try_get("issuer")?,
            subject: row.try_get("subject")?,
            linked_at: linked_at.map(to_timestamp),
        })
    };
    rows.iter().map(read).collect()
}

/// Records which user a person is.
///
/// # Errors
///
/// A conflict when the person is recorded already.
pub async fn link_user(
    on: &mut AnyConnection,
    subject: ProviderSubject<'_>,
    tailnet_id: u64,
    user_id: u64,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO provider_identities (connection_id, issuer, subject, tailnet_id, user_id, linked_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(subject.connection_id.cast_signed())
    .bind(subject.issuer.to_owned())
    .bind(subject.subject.to_owned())
    .bind(tailnet_id.cast_signed())
    .bind(user_id.cast_signed())
    .bind(to_micros(now))
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets that a person of a connection is a user, whatever the connection's provider was called then; says whether that was
/// recorded.
pub async fn unlink_person(
    on: &mut AnyConnection,
    connection_id: u64,
    subject: &str,
    user_id: u64,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "DELETE FROM provider_identities WHERE connection_id = $1 AND subject = $2 AND user_id = $3",
    );
    let gone = query
        .bind(connection_id.cast_signed())
        .bind(subject.to_owned())
        .bind(user_id.cast_signed())
        .execute(on)
        .await?;
    Ok(gone.rows_affected() > 0)
}

/// Forgets who a user is at providers: the user is gone.
pub async fn unlink_user(on: &mut AnyConnection, user_id: u64) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM provider_identities WHERE user_id = $1");
    query.bind(user_id.cast_signed()).execute(on).await?;
    Ok(())
}
