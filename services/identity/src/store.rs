//! The tables of identity.
//!
//! A row holds one encoded message in its column `body`. What is searched for, such as a name, is in columns of its own.
//! They are copies, written together with the body.

pub mod attempts;
pub mod conditions;
pub mod connections;
pub mod credentials;
pub mod deleted_users;
pub mod former_users;
pub mod groups;
pub mod invitations;
pub mod logins;
pub mod passkeys;
pub mod provider_refreshes;
pub mod provider_sessions;
pub mod saml;
pub mod scim;
pub mod sealed;
pub mod sessions;
pub mod ssh_checks;
mod users;
pub mod webhook_cursors;
pub mod webhook_events;
pub mod webhooks;

use bowline_db::DatabaseError;
use bowline_proto::identity::v1::Tailnet;
use prost::Message;
use sqlx::{Any, AnyConnection, Executor, Row, any::AnyRow};

pub use users::{
    delete_user, find_user, find_user_named_alike, find_user_rows, find_users, fold_some_names,
    list_complete_users, list_users, list_users_awaiting_approval, list_users_with_old_names,
    put_users, resolve_users,
};

/// The most ids in one query.
pub const MOST_IDS: usize = 1000;

/// Returns placeholders such as `$2, $3, $4` for a list of values.
fn format_placeholders(first: usize, count: usize) -> String {
    let numbers = (first..first + count).map(|number| format!("${number}"));
    numbers.collect::<Vec<_>>().join(", ")
}

/// Returns placeholders such as `($1, $2), ($3, $4)` for rows of as many values each.
fn format_rows(rows: usize, columns: usize) -> String {
    let row = |row: usize| format!("({})", format_placeholders(row * columns + 1, columns));
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

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
