//! The table of users.
//!
//! The groups of a user are in a table of their own. The body has their names beside it, for releases that know only those.

use std::collections::BTreeMap;

use bowline_db::DatabaseError;
use bowline_proto::identity::v1::{Tailnet, User};
use prost::Message as _;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row as _, any::AnyRow};

use super::{decode_bodies, decode_body, format_placeholders, format_rows, former_users, groups};
use crate::domain::user::folded_login_name;

/// A user of a row, with the names of the groups and without memberships.
fn decode_user(row: &AnyRow) -> Result<User, DatabaseError> {
    let user: User = decode_body("users", row)?;
    Ok(User {
        has_memberships: false,
        ..user
    })
}

/// Returns the users of a tailnet, in the order of their login names.
pub async fn list_users<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<User>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM users WHERE tailnet_id = $1 ORDER BY login_name");
    let rows = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    rows.iter().map(decode_user).collect()
}

/// Returns the users of a tailnet with their memberships, in the order of their login names. One whose row is of a release
/// that knows only names has none.
pub async fn list_complete_users(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<Vec<User>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM users WHERE tailnet_id = $1 ORDER BY login_name");
    let rows = query.bind(tailnet_id.cast_signed()).fetch_all(&mut *on);
    let mut users: Vec<User> = decode_bodies("users", &rows.await?)?;
    let mut memberships = groups::list_memberships_of_tailnet(on, tailnet_id).await?;
    for user in users.iter_mut().filter(|user| user.has_memberships) {
        user.memberships = memberships.remove(&user.id).unwrap_or_default();
    }
    let mut former = former_users::list_former_ids(on, tailnet_id, None).await?;
    for user in &mut users {
        user.former_ids = former.remove(&user.id).unwrap_or_default();
    }
    Ok(users)
}

/// Returns the users of a tailnet who wait for approval, in the order of their login names.
pub async fn list_users_awaiting_approval<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<User>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM users WHERE tailnet_id = $1 AND awaits_approval = 1 ORDER BY login_name",
    );
    let rows = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    let mut users: Vec<User> = rows.iter().map(decode_user).collect::<Result<_, _>>()?;
    // A release that does not know of waiting leaves the column as it was. Who is suspended besides is nobody to be approved.
    users.retain(User::only_awaits_approval);
    Ok(users)
}

/// Returns the users after a number, at most 500, whose rows have group names that a release without groups as objects has
/// written: their tailnets by number. The second value is the number to go on from, `None` at the end.
pub async fn list_users_with_old_names<'e>(
    on: impl Executor<'e, Database = Any>,
    after: u64,
) -> Result<(BTreeMap<u64, Vec<u64>>, Option<u64>), DatabaseError> {
    let rows = sqlx::query(
        "SELECT id, body,
             CAST(CASE WHEN EXISTS (SELECT 1 FROM group_members m WHERE m.user_id = users.id) THEN 1 ELSE 0 END AS BIGINT)
             AS has_members
         FROM users WHERE id > $1 ORDER BY id LIMIT 500",
    );
    let rows = rows.bind(after.cast_signed()).fetch_all(on).await?;
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut last = None;
    for row in &rows {
        let user: User = decode_body("users", row)?;
        let has_members = row.try_get::<i64, _>("has_members")? == 1;
        last = Some(user.id);
        if !user.has_memberships && (has_members || !user.groups.is_empty()) {
            found.entry(user.tailnet_id).or_default().push(user.id);
        }
    }
    Ok((found, last))
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
    let row = query.fetch_optional(on).await?;
    row.as_ref().map(decode_user).transpose()
}

/// A tailnet with some of its users.
#[derive(Debug)]
pub struct UsersInTailnet {
    /// The tailnet.
    pub tailnet: Tailnet,
    /// The users that are there, by the number that was asked for.
    pub users: BTreeMap<u64, User>,
    /// The revision of the log that all are true at.
    pub revision: u64,
}

/// Returns a tailnet with the users who have some numbers now, one at least, in one statement: all of one state.
pub async fn resolve_users<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    ids: &[u64],
) -> Result<Option<UsersInTailnet>, DatabaseError> {
    // A power of two of them, the last one more than once: connections keep prepared statements.
    let last = ids.last().copied().unwrap_or_default();
    let mut asked = ids.to_vec();
    asked.resize(ids.len().next_power_of_two(), last);
    let places = (2..).take(asked.len());
    let places: Vec<_> = places
        .map(|place| format!("(CAST(${place} AS BIGINT))"))
        .collect();
    let sql = format!(
        "SELECT asked.column1 AS asked_id, CASE WHEN asked.column1 = $2 THEN tailnets.body END AS tailnet,
             users.body AS body, COALESCE(heads.revision, 0) AS revision
         FROM tailnets
         CROSS JOIN (VALUES {}) AS asked
         LEFT JOIN heads ON heads.tailnet_id = tailnets.id
         LEFT JOIN former_users ON former_users.tailnet_id = tailnets.id AND former_users.former_id = asked.column1
         LEFT JOIN users ON users.tailnet_id = tailnets.id AND users.id = COALESCE(former_users.user_id, asked.column1)
         WHERE tailnets.id = $1",
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tailnet_id.cast_signed());
    for id in asked {
        query = query.bind(id.cast_signed());
    }
    let rows = query.fetch_all(on).await?;
    let (mut found, mut users) = (None, BTreeMap::new());
    for row in &rows {
        if let Some(body) = row.try_get::<Option<Vec<u8>>, _>("tailnet")? {
            let tailnet = Tailnet::decode(&*body).map_err(|_| DatabaseError::Inconsistent {
                table: "tailnets",
                row: tailnet_id.to_string(),
            })?;
            found = Some((tailnet, row.try_get::<i64, _>("revision")?.cast_unsigned()));
        }
        if row.try_get::<Option<Vec<u8>>, _>("body")?.is_some() {
            let asked_id: i64 = row.try_get("asked_id")?;
            users.insert(asked_id.cast_unsigned(), decode_user(row)?);
        }
    }
    Ok(found.map(|(tailnet, revision)| UsersInTailnet {
        tailnet,
        users,
        revision,
    }))
}

/// Returns those users of a tailnet that are there, [`MOST_IDS`] at most.
pub async fn find_users(
    on: &mut AnyConnection,
    tailnet_id: u64,
    ids: &[u64],
) -> Result<Vec<User>, DatabaseError> {
    let rows = select_users(on, tailnet_id, ids).await?;
    rows.iter().map(decode_user).collect()
}

/// Returns users as their rows have them, [`MOST_IDS`] at most: who wrote them is seen by `has_memberships`.
pub async fn find_user_rows(
    on: &mut AnyConnection,
    tailnet_id: u64,
    ids: &[u64],
) -> Result<Vec<User>, DatabaseError> {
    decode_bodies("users", &select_users(on, tailnet_id, ids).await?)
}

async fn select_users(
    on: &mut AnyConnection,
    tailnet_id: u64,
    ids: &[u64],
) -> Result<Vec<AnyRow>, DatabaseError> {
    let places = format_placeholders(2, ids.len());
    let query = format!("SELECT body FROM users WHERE tailnet_id = $1 AND id IN ({places})");
    let mut query = sqlx::query(AssertSqlSafe(query)).bind(tailnet_id.cast_signed());
    for id in ids {
        query = query.bind(id.cast_signed());
    }
    Ok(query.fetch_all(on).await?)
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
    let users: Vec<User> = rows.iter().map(decode_user).collect::<Result<_, _>>()?;
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

/// Inserts users, or replaces those with their ids; [`MOST_IDS`] at most. The names of their groups are to be those of their
/// memberships.
pub async fn put_users(on: &mut AnyConnection, users: &[User]) -> Result<(), DatabaseError> {
    if users.is_empty() {
        return Ok(());
    }
    let rows = format_rows(users.len(), 6);
    let query = format!(
        "INSERT INTO users (id, tailnet_id, login_name, folded_name, body, awaits_approval) VALUES {rows}
         ON CONFLICT (id) DO UPDATE SET login_name = excluded.login_name,
             folded_name = excluded.folded_name, body = excluded.body,
             awaits_approval = excluded.awaits_approval"
    );
    let mut query = sqlx::query(AssertSqlSafe(query));
    for user in users {
        let body = User {
            memberships: Vec::new(),
            has_memberships: true,
            ..user.clone()
        };
        query = query
            .bind(user.id.cast_signed())
            .bind(user.tailnet_id.cast_signed())
            .bind(user.login_name.clone())
            .bind(folded_login_name(&user.login_name))
            .bind(body.encode_to_vec())
            .bind(i64::from(body.awaits_approval));
    }
    query.execute(on).await?;
    Ok(())
}

/// Deletes a user.
pub async fn delete_user(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    groups::delete_memberships(on, id).await?;
    sqlx::query("DELETE FROM users WHERE id = $1")
        .bind(id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}
