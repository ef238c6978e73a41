//! The rows of identity: one message a row, with the columns that are looked up.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::identity::v1::{Login, LoginState, Tailnet, User};
use chrono::{DateTime, Utc};
use prost::Message;
use sqlx::{Any, AnyConnection, Executor, Row, any::AnyRow};

/// Reads the message of a row whose first column is the key and second the body.
fn message<M: Message + Default>(table: &'static str, row: &AnyRow) -> Result<M, DatabaseError> {
    let body: Vec<u8> = row.try_get("body")?;
    M::decode(&*body).map_err(|_| DatabaseError::Inconsistent {
        table,
        row: "its body does not decode".to_owned(),
    })
}

fn messages<M: Message + Default>(
    table: &'static str,
    rows: &[AnyRow],
) -> Result<Vec<M>, DatabaseError> {
    rows.iter().map(|row| message(table, row)).collect()
}

/// Returns a tailnet by number.
pub async fn tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
    id: u64,
) -> Result<Option<Tailnet>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM tailnets WHERE id = $1").bind(id.cast_signed());
    query
        .fetch_optional(on)
        .await?
        .map(|row| message("tailnets", &row))
        .transpose()
}

/// Returns a tailnet by name.
pub async fn tailnet_named<'e>(
    on: impl Executor<'e, Database = Any>,
    name: &str,
) -> Result<Option<Tailnet>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM tailnets WHERE name = $1").bind(name.to_owned());
    query
        .fetch_optional(on)
        .await?
        .map(|row| message("tailnets", &row))
        .transpose()
}

/// Returns all tailnets by name.
pub async fn tailnets<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<Vec<Tailnet>, DatabaseError> {
    messages(
        "tailnets",
        &sqlx::query("SELECT body FROM tailnets ORDER BY name")
            .fetch_all(on)
            .await?,
    )
}

/// Writes a tailnet.
pub async fn put_tailnet(on: &mut AnyConnection, tailnet: &Tailnet) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO tailnets (id, name, body) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, body = excluded.body",
    )
    .bind(tailnet.id.cast_signed())
    .bind(tailnet.name.clone())
    .bind(tailnet.encode_to_vec())
    .execute(on)
    .await?;
    Ok(())
}

/// Removes a tailnet.
pub async fn delete_tailnet(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM tailnets WHERE id = $1")
        .bind(id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the users of a tailnet by login name.
pub async fn users<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<User>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM users WHERE tailnet_id = $1 ORDER BY login_name");
    messages(
        "users",
        &query.bind(tailnet_id.cast_signed()).fetch_all(on).await?,
    )
}

/// Returns a user of a tailnet.
pub async fn user<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    id: u64,
) -> Result<Option<User>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM users WHERE tailnet_id = $1 AND id = $2")
        .bind(tailnet_id.cast_signed())
        .bind(id.cast_signed());
    query
        .fetch_optional(on)
        .await?
        .map(|row| message("users", &row))
        .transpose()
}

/// Writes a user.
pub async fn put_user(on: &mut AnyConnection, user: &User) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO users (id, tailnet_id, login_name, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET login_name = excluded.login_name, body = excluded.body",
    )
    .bind(user.id.cast_signed())
    .bind(user.tailnet_id.cast_signed())
    .bind(user.login_name.clone())
    .bind(user.encode_to_vec())
    .execute(on)
    .await?;
    Ok(())
}

/// Removes a user.
pub async fn delete_user(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM users WHERE id = $1")
        .bind(id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns a login.
pub async fn login<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
) -> Result<Option<Login>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM logins WHERE id = $1").bind(id.to_owned());
    query
        .fetch_optional(on)
        .await?
        .map(|row| message("logins", &row))
        .transpose()
}

/// Returns the pending logins of a machine, or of all.
pub async fn pending_logins<'e>(
    on: impl Executor<'e, Database = Any>,
    machine_key: Option<&[u8]>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Login>, DatabaseError> {
    let rows =
        match machine_key {
            Some(key) => sqlx::query(
                "SELECT body FROM logins WHERE machine_key = $1 AND pending = 1 AND expires_at > $2
                 ORDER BY expires_at LIMIT $3",
            )
            .bind(key.to_vec())
            .bind(to_micros(now))
            .bind(limit)
            .fetch_all(on)
            .await?,
            None => {
                sqlx::query(
                    "SELECT body FROM logins WHERE pending = 1 AND expires_at > $1
                 ORDER BY expires_at LIMIT $2",
                )
                .bind(to_micros(now))
                .bind(limit)
                .fetch_all(on)
                .await?
            }
        };
    messages("logins", &rows)
}

/// Counts the pending logins of a source address, and of all.
pub async fn count_pending(
    on: &mut AnyConnection,
    source: &str,
    now: DateTime<Utc>,
) -> Result<(i64, i64), DatabaseError> {
    let row = sqlx::query(
        "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(CASE WHEN source = $1 THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM logins WHERE pending = 1 AND expires_at > $2",
    )
    .bind(source.to_owned())
    .bind(to_micros(now))
    .fetch_one(on)
    .await?;
    Ok((row.try_get(1)?, row.try_get(0)?))
}

/// Writes a new login.
pub async fn put_login(on: &mut AnyConnection, login: &Login) -> Result<(), DatabaseError> {
    let source = login
        .device
        .as_ref()
        .map(|device| device.source_address.clone());
    let expires_at = login.expires_at.map_or(0, |end| end.seconds * 1_000_000);
    sqlx::query(
        "INSERT INTO logins (id, pending, machine_key, source, expires_at, body)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(login.id.clone())
    .bind(i64::from(login.state() == LoginState::Pending))
    .bind(login.machine_key.clone())
    .bind(source.unwrap_or_default())
    .bind(expires_at)
    .bind(login.encode_to_vec())
    .execute(on)
    .await?;
    Ok(())
}

/// Writes the decision about a login, if it is still pending; says whether it was.
pub async fn decide_login(on: &mut AnyConnection, login: &Login) -> Result<bool, DatabaseError> {
    let query =
        sqlx::query("UPDATE logins SET pending = 0, body = $2 WHERE id = $1 AND pending = 1");
    let done = query
        .bind(login.id.clone())
        .bind(login.encode_to_vec())
        .execute(on)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets logins whose end is longer ago than `before`.
pub async fn forget_logins(
    on: &mut AnyConnection,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM logins WHERE expires_at < $1");
    query.bind(to_micros(before)).execute(on).await?;
    Ok(())
}
