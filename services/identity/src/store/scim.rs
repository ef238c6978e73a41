//! Users and groups that identity providers keep here by SCIM.

use std::collections::BTreeSet;

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_scim::ScimType;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::format_placeholders;

/// What a provider says of a user or group.
#[derive(Clone, Debug, PartialEq)]
pub struct ScimRow {
    /// The connection to the provider.
    pub connection_id: u64,
    /// What it is.
    pub of: ScimType,
    /// The number of the user or group.
    pub id: u64,
    /// The tailnet.
    pub tailnet_id: u64,
    /// What the provider calls it in its own books.
    pub external_id: Option<String>,
    /// The name, in lower case.
    pub folded_name: String,
    /// How often it was changed, and once more.
    pub version: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub changed_at: DateTime<Utc>,
    /// What the provider says.
    pub attributes: Map<String, Value>,
}

const COLUMNS: &str = "connection_id, kind, id, tailnet_id, external_id, folded_name, version, created_at, changed_at, body";

const fn kind_number(of: ScimType) -> i64 {
    match of {
        ScimType::User => 1,
        ScimType::Group => 2,
    }
}

fn read_row(row: &AnyRow) -> Result<ScimRow, DatabaseError> {
    let inconsistent = |problem: &str| DatabaseError::Inconsistent {
        table: "scim_resources",
        row: problem.to_owned(),
    };
    let time = |name: &str| -> Result<DateTime<Utc>, DatabaseError> {
        from_micros(row.try_get(name)?).ok_or_else(|| inconsistent("a time is none"))
    };
    let kind: i64 = row.try_get("kind")?;
    let of = ScimType::ALL
        .into_iter()
        .find(|of| kind_number(*of) == kind);
    let body: String = row.try_get("body")?;
    Ok(ScimRow {
        connection_id: row.try_get::<i64, _>("connection_id")?.cast_unsigned(),
        of: of.ok_or_else(|| inconsistent("its kind is not known"))?,
        id: row.try_get::<i64, _>("id")?.cast_unsigned(),
        tailnet_id: row.try_get::<i64, _>("tailnet_id")?.cast_unsigned(),
        external_id: row.try_get("external_id")?,
        folded_name: row.try_get("folded_name")?,
        version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        created_at: time("created_at")?,
        changed_at: time("changed_at")?,
        attributes: serde_json::from_str(&body)
            .map_err(|_| inconsistent("its body is no object"))?,
    })
}

/// Inserts a resource, or replaces the one with its number.
pub async fn put_resource(on: &mut AnyConnection, row: &ScimRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO scim_resources (connection_id, kind, id, tailnet_id, external_id, folded_name, version, created_at, changed_at, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (connection_id, kind, id) DO UPDATE SET external_id = excluded.external_id,
             folded_name = excluded.folded_name, version = excluded.version,
             changed_at = excluded.changed_at, body = excluded.body",
    )
    .bind(row.connection_id.cast_signed())
    .bind(kind_number(row.of))
    .bind(row.id.cast_signed())
    .bind(row.tailnet_id.cast_signed())
    .bind(row.external_id.clone())
    .bind(row.folded_name.clone())
    .bind(row.version.cast_signed())
    .bind(to_micros(row.created_at))
    .bind(to_micros(row.changed_at))
    .bind(Value::Object(row.attributes.clone()).to_string())
    .execute(on)
    .await?;
    Ok(())
}

/// What a resource is found by.
#[derive(Clone, Copy, Debug)]
pub enum ScimKey<'a> {
    /// Its number.
    Id(u64),
    /// What the provider calls it in its own books.
    External(&'a str),
    /// Its name, in lower case.
    Name(&'a str),
}

/// Returns a resource of a connection.
pub async fn find_resource(
    on: &mut AnyConnection,
    connection_id: u64,
    of: ScimType,
    key: ScimKey<'_>,
) -> Result<Option<ScimRow>, DatabaseError> {
    let column = match key {
        ScimKey::Id(_) => "id",
        ScimKey::External(_) => "external_id",
        ScimKey::Name(_) => "folded_name",
    };
    let query = format!(
        "SELECT {COLUMNS} FROM scim_resources WHERE connection_id = $1 AND kind = $2 AND {column} = $3"
    );
    let query = sqlx::query(AssertSqlSafe(query))
        .bind(connection_id.cast_signed())
        .bind(kind_number(of));
    let query = match key {
        ScimKey::Id(id) => query.bind(id.cast_signed()),
        ScimKey::External(text) | ScimKey::Name(text) => query.bind(text.to_owned()),
    };
    let row = query.fetch_optional(on).await?;
    row.as_ref().map(read_row).transpose()
}

/// Returns which of these users a connection's provider keeps, [`MOST_IDS`](super::MOST_IDS) at most.
pub async fn list_kept_users(
    on: &mut AnyConnection,
    connection_id: u64,
    ids: &[u64],
) -> Result<BTreeSet<u64>, DatabaseError> {
    let places = format_placeholders(2, ids.len());
    let query = format!(
        "SELECT id FROM scim_resources WHERE connection_id = $1 AND kind = 1 AND id IN ({places})"
    );
    let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(query));
    let mut query = query.bind(connection_id.cast_signed());
    for id in ids {
        query = query.bind(id.cast_signed());
    }
    let found = query.fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Returns the connection whose provider keeps a user, if one does.
pub async fn find_keeper(
    on: &mut AnyConnection,
    user_id: u64,
) -> Result<Option<u64>, DatabaseError> {
    let query = "SELECT connection_id FROM scim_resources WHERE kind = 1 AND id = $1";
    let query = sqlx::query_scalar::<_, i64>(query).bind(user_id.cast_signed());
    let found = query.fetch_optional(on).await?;
    Ok(found.map(i64::cast_unsigned))
}

/// Returns resources of a connection by number, from the one after `after`.
pub async fn list_resources(
    on: &mut AnyConnection,
    connection_id: u64,
    of: ScimType,
    after: u64,
    most: i64,
) -> Result<Vec<ScimRow>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM scim_resources WHERE connection_id = $1 AND kind = $2 AND id > $3
         ORDER BY id LIMIT $4"
    );
    let query = sqlx::query(AssertSqlSafe(query))
        .bind(connection_id.cast_signed())
        .bind(kind_number(of))
        .bind(after.cast_signed())
        .bind(most);
    query.fetch_all(on).await?.iter().map(read_row).collect()
}

/// Returns a page of the resources of a connection by number, `skipped` behind the first.
pub async fn page_resources(
    on: &mut AnyConnection,
    connection_id: u64,
    of: ScimType,
    skipped: i64,
    most: i64,
) -> Result<Vec<ScimRow>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM scim_resources WHERE connection_id = $1 AND kind = $2
         ORDER BY id LIMIT $3 OFFSET $4"
    );
    let query = sqlx::query(AssertSqlSafe(query))
        .bind(connection_id.cast_signed())
        .bind(kind_number(of))
        .bind(most)
        .bind(skipped);
    query.fetch_all(on).await?.iter().map(read_row).collect()
}

/// Counts the resources of a connection.
pub async fn count_resources(
    on: &mut AnyConnection,
    connection_id: u64,
    of: ScimType,
) -> Result<u64, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM scim_resources WHERE connection_id = $1 AND kind = $2",
    );
    let query = query
        .bind(connection_id.cast_signed())
        .bind(kind_number(of));
    Ok(query.fetch_one(on).await?.cast_unsigned())
}

/// Forgets what a connection's provider says of a group.
pub async fn delete_group(
    on: &mut AnyConnection,
    connection_id: u64,
    group_id: u64,
) -> Result<(), DatabaseError> {
    let query = "DELETE FROM scim_resources WHERE connection_id = $1 AND kind = 2 AND id = $2";
    let query = sqlx::query(query)
        .bind(connection_id.cast_signed())
        .bind(group_id.cast_signed());
    query.execute(on).await?;
    Ok(())
}

/// Forgets what providers say of a user who is gone. Call it while the memberships are there: the groups have other members
/// then, and so another version.
pub async fn delete_user(on: &mut AnyConnection, user_id: u64) -> Result<(), DatabaseError> {
    for query in [
        "UPDATE scim_resources SET version = version + 1
         WHERE kind = 2 AND EXISTS (SELECT 1 FROM group_members m WHERE m.user_id = $1
             AND m.group_id = scim_resources.id AND m.connection_id = scim_resources.connection_id AND m.source = 3)",
        "DELETE FROM scim_resources WHERE kind = 1 AND id = $1",
    ] {
        let query = sqlx::query(query).bind(user_id.cast_signed());
        query.execute(&mut *on).await?;
    }
    Ok(())
}

/// Forgets what a connection's provider says.
pub async fn delete_of_connection(
    on: &mut AnyConnection,
    connection_id: u64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM scim_resources WHERE connection_id = $1");
    query.bind(connection_id.cast_signed()).execute(on).await?;
    Ok(())
}

/// Returns who is in a group by a connection's SCIM; by number.
pub async fn list_members(
    on: &mut AnyConnection,
    connection_id: u64,
    group_id: u64,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT user_id FROM group_members
         WHERE group_id = $1 AND connection_id = $2 AND source = 3 ORDER BY user_id",
    );
    let query = query
        .bind(group_id.cast_signed())
        .bind(connection_id.cast_signed());
    let found = query.fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Returns the groups that a user is in by a connection's SCIM; by number.
pub async fn list_groups_of(
    on: &mut AnyConnection,
    connection_id: u64,
    user_id: u64,
) -> Result<Vec<(u64, String)>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT m.group_id, g.name FROM group_members m JOIN user_groups g ON g.id = m.group_id
         WHERE m.user_id = $1 AND m.connection_id = $2 AND m.source = 3 ORDER BY m.group_id",
    );
    let rows = rows
        .bind(user_id.cast_signed())
        .bind(connection_id.cast_signed())
        .fetch_all(on)
        .await?;
    let read = |row: &AnyRow| Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get(1)?));
    rows.iter().map(read).collect()
}
