//! The tables of identity.
//!
//! A row holds one encoded message in its column `body`. What is searched for, such as a name, is in columns of its own.
//! They are copies, written together with the body.

pub mod attempts;
pub mod connections;
pub mod credentials;
pub mod logins;
pub mod saml;

use bowline_db::DatabaseError;
use bowline_proto::identity::v1::{Tailnet, User};
use prost::Message;
use sqlx::{Any, AnyConnection, Executor, Row, any::AnyRow};

use crate::domain::user::folded_login_name;

/// Decodes the message that a row holds.
fn decode_body<M: Message + Default>(
    table: &'static str,
    row: &AnyRow,
) -> Result<M, DatabaseError> {
    let body: Vec<u8> = row.try_get("body")?;
    M::decode(&*body).map_err(|_| DatabaseError::Inconsistent {
        table,
        row: "its body does not decode".to_owned(),
    })
}

fn decode_bodies<M: Message + Default>(
    table: &'static str,
    rows: &[AnyRow],
) -> Result<Vec<M>, DatabaseError> {
    rows.iter().map(|row| decode_body(table, row)).collect()
}

/// Returns a tailnet by number.
pub async fn find_tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
    id: u64,
) -> Result<Option<Tailnet>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM tailnets WHERE id = $1").bind(id.cast_signed());
    query
        .fetch_optional(on)
        .await?
        .map(|row| decode_body("tailnets", &row))
        .transpose()
}

/// Returns a tailnet by name.
pub async fn find_tailnet_named<'e>(
    on: impl Executor<'e, Database = Any>,
    name: &str,
) -> Result<Option<Tailnet>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM tailnets WHERE name = $1").bind(name.to_owned());
    query
        .fetch_optional(on)
        .await?
        .map(|row| decode_body("tailnets", &row))
        .transpose()
}

/// Returns the tailnet's number, where there is one only.
pub async fn find_only_tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<Option<u64>, DatabaseError> {
    let found: Vec<i64> = sqlx::query_scalar("SELECT id FROM tailnets LIMIT 2")
        .fetch_all(on)
        .await?;
    match *found {
        [only] => Ok(Some(only.cast_unsigned())),
        _ => Ok(None),
    }
}

/// Returns all tailnets, in the order of their names.
pub async fn list_tailnets<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<Vec<Tailnet>, DatabaseError> {
    decode_bodies(
        "tailnets",
        &sqlx::query("SELECT body FROM tailnets ORDER BY name")
            .fetch_all(on)
            .await?,
    )
}

/// Inserts a tailnet, or replaces the one with its id.
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

/// Deletes a tailnet.
pub async fn delete_tailnet(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM tailnets WHERE id = $1")
        .bind(id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the users of a tailnet, in the order of their login names.
pub async fn list_users<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<User>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM users WHERE tailnet_id = $1 ORDER BY login_name");
    decode_bodies(
        "users",
        &query.bind(tailnet_id.cast_signed()).fetch_all(on).await?,
    )
}

/// Returns a user of a tailnet.
pub async fn find_user<'e>(
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
        .map(|row| decode_body("users", &row))
        .transpose()
}

/// Returns the user of a tailnet who has this login name, in whatever case it is written.
///
/// Rows that an older release wrote have no folded name until the sweep fills it in. They are compared here, too.
pub async fn find_user_named_alike(
    on: &mut AnyConnection,
    tailnet_id: u64,
    login_name: &str,
) -> Result<Option<User>, DatabaseError> {
    let folded = folded_login_name(login_name);
    let query = sqlx::query(
        "SELECT body FROM users WHERE tailnet_id = $1 AND (folded_name = $2 OR folded_name IS NULL)
         ORDER BY id",
    );
    let rows = query
        .bind(tailnet_id.cast_signed())
        .bind(folded.clone())
        .fetch_all(on)
        .await?;
    let users: Vec<User> = decode_bodies("users", &rows)?;
    let is_alike = |user: &User| folded_login_name(&user.login_name) == folded;
    Ok(users.into_iter().find(is_alike))
}

/// Fills in the folded names that are missing from rows of an older release, 500 at a time. Returns how many it filled in:
/// zero when none is left.
pub async fn fold_some_names(on: &mut AnyConnection) -> Result<usize, DatabaseError> {
    let rows = sqlx::query("SELECT id, login_name FROM users WHERE folded_name IS NULL LIMIT 500")
        .fetch_all(&mut *on)
        .await?;
    for row in &rows {
        let (id, login_name): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        sqlx::query("UPDATE users SET folded_name = $2 WHERE id = $1")
            .bind(id)
            .bind(folded_login_name(&login_name))
            .execute(&mut *on)
            .await?;
    }
    Ok(rows.len())
}

/// Inserts a user, or replaces the one with that id.
pub async fn put_user(on: &mut AnyConnection, user: &User) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO users (id, tailnet_id, login_name, folded_name, body) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET login_name = excluded.login_name,
             folded_name = excluded.folded_name, body = excluded.body",
    )
    .bind(user.id.cast_signed())
    .bind(user.tailnet_id.cast_signed())
    .bind(user.login_name.clone())
    .bind(folded_login_name(&user.login_name))
    .bind(user.encode_to_vec())
    .execute(on)
    .await?;
    Ok(())
}

/// Deletes a user.
pub async fn delete_user(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM users WHERE id = $1")
        .bind(id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}
