//! Groups, and who is in them.

use std::collections::BTreeMap;

use bowline_db::DatabaseError;
use bowline_proto::identity::v1::{Group, Membership};
use prost::Message as _;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{decode_bodies, decode_body, format_placeholders, format_rows};

/// Returns a group of a tailnet.
pub async fn find_group(
    on: &mut AnyConnection,
    tailnet_id: u64,
    id: u64,
) -> Result<Option<Group>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM user_groups WHERE tailnet_id = $1 AND id = $2");
    let query = query.bind(tailnet_id.cast_signed()).bind(id.cast_signed());
    let row = query.fetch_optional(on).await?;
    row.map(|row| decode_body("user_groups", &row)).transpose()
}

/// Returns the group of a tailnet that has a name.
pub async fn find_group_named(
    on: &mut AnyConnection,
    tailnet_id: u64,
    name: &str,
) -> Result<Option<Group>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM user_groups WHERE tailnet_id = $1 AND name = $2");
    let query = query.bind(tailnet_id.cast_signed()).bind(name.to_owned());
    let row = query.fetch_optional(on).await?;
    row.map(|row| decode_body("user_groups", &row)).transpose()
}

/// Returns the groups of a tailnet by name.
pub async fn list_groups(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<Vec<Group>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM user_groups WHERE tailnet_id = $1 ORDER BY name");
    let query = query.bind(tailnet_id.cast_signed());
    decode_bodies("user_groups", &query.fetch_all(on).await?)
}

/// Counts the groups of a tailnet.
pub async fn count_groups(on: &mut AnyConnection, tailnet_id: u64) -> Result<i64, DatabaseError> {
    let query = "SELECT CAST(COUNT(*) AS BIGINT) FROM user_groups WHERE tailnet_id = $1";
    let query = sqlx::query_scalar(query).bind(tailnet_id.cast_signed());
    Ok(query.fetch_one(on).await?)
}

/// Inserts a group, or replaces the one with its id.
///
/// # Errors
///
/// A conflict when another group of the tailnet has the name.
pub async fn put_group(on: &mut AnyConnection, group: &Group) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO user_groups (id, tailnet_id, name, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, body = excluded.body",
    )
    .bind(group.id.cast_signed())
    .bind(group.tailnet_id.cast_signed())
    .bind(group.name.clone())
    .bind(group.encode_to_vec())
    .execute(on)
    .await?;
    Ok(())
}

/// Deletes a group with its memberships.
pub async fn delete_group(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    for query in [
        "DELETE FROM group_members WHERE group_id = $1",
        "DELETE FROM scim_resources WHERE kind = 2 AND id = $1",
        "DELETE FROM user_groups WHERE id = $1",
    ] {
        let query = sqlx::query(query).bind(id.cast_signed());
        query.execute(&mut *on).await?;
    }
    Ok(())
}

/// Deletes the groups of a tailnet.
pub async fn delete_groups_of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<(), DatabaseError> {
    for query in [
        "DELETE FROM group_members WHERE tailnet_id = $1",
        "DELETE FROM scim_resources WHERE tailnet_id = $1",
        "DELETE FROM user_groups WHERE tailnet_id = $1",
    ] {
        let query = sqlx::query(query).bind(tailnet_id.cast_signed());
        query.execute(&mut *on).await?;
    }
    Ok(())
}

const MEMBERSHIP: &str = "group_id, source, connection_id";

fn read_membership(row: &AnyRow) -> Result<Membership, DatabaseError> {
    let source: i64 = row.try_get("source")?;
    Ok(Membership {
        group_id: row.try_get::<i64, _>("group_id")?.cast_unsigned(),
        source: i32::try_from(source).unwrap_or_default(),
        connection_id: row.try_get::<i64, _>("connection_id")?.cast_unsigned(),
    })
}

/// Returns the memberships of a user, with the names of the groups; in order.
pub async fn list_memberships(
    on: &mut AnyConnection,
    user_id: u64,
) -> Result<NamedMemberships, DatabaseError> {
    let mut found = list_memberships_of(on, &[user_id]).await?;
    Ok(found.remove(&user_id).unwrap_or_default())
}

/// Memberships, with the names of the groups.
pub type NamedMemberships = Vec<(Membership, String)>;

/// Returns the memberships of users, [`MOST_IDS`](super::MOST_IDS) at most, as [`list_memberships`] does.
pub async fn list_memberships_of(
    on: &mut AnyConnection,
    user_ids: &[u64],
) -> Result<BTreeMap<u64, NamedMemberships>, DatabaseError> {
    let places = format_placeholders(1, user_ids.len());
    let query = format!(
        "SELECT m.user_id, m.group_id, m.source, m.connection_id, g.name FROM group_members m
         JOIN user_groups g ON g.id = m.group_id WHERE m.user_id IN ({places})
         ORDER BY m.user_id, m.group_id, m.source, m.connection_id"
    );
    let mut query = sqlx::query(AssertSqlSafe(query));
    for id in user_ids {
        query = query.bind(id.cast_signed());
    }
    let mut found: BTreeMap<u64, NamedMemberships> = BTreeMap::new();
    for row in query.fetch_all(on).await? {
        let user = row.try_get::<i64, _>("user_id")?.cast_unsigned();
        let membership = (read_membership(&row)?, row.try_get("name")?);
        found.entry(user).or_default().push(membership);
    }
    Ok(found)
}

/// Returns the memberships of all users of a tailnet, each in order.
pub async fn list_memberships_of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<BTreeMap<u64, Vec<Membership>>, DatabaseError> {
    let query = format!(
        "SELECT user_id, {MEMBERSHIP} FROM group_members WHERE tailnet_id = $1
         ORDER BY user_id, {MEMBERSHIP}"
    );
    let query = sqlx::query(AssertSqlSafe(query)).bind(tailnet_id.cast_signed());
    let mut found: BTreeMap<u64, Vec<Membership>> = BTreeMap::new();
    for row in query.fetch_all(on).await? {
        let user = row.try_get::<i64, _>("user_id")?.cast_unsigned();
        found.entry(user).or_default().push(read_membership(&row)?);
    }
    Ok(found)
}

/// Returns who is in a group, and by which sources.
pub async fn list_members(
    on: &mut AnyConnection,
    group_id: u64,
) -> Result<BTreeMap<u64, Vec<Membership>>, DatabaseError> {
    let query = format!(
        "SELECT user_id, {MEMBERSHIP} FROM group_members WHERE group_id = $1
         ORDER BY user_id, {MEMBERSHIP}"
    );
    let query = sqlx::query(AssertSqlSafe(query)).bind(group_id.cast_signed());
    let mut found: BTreeMap<u64, Vec<Membership>> = BTreeMap::new();
    for row in query.fetch_all(on).await? {
        let user = row.try_get::<i64, _>("user_id")?.cast_unsigned();
        found.entry(user).or_default().push(read_membership(&row)?);
    }
    Ok(found)
}

/// Counts the members of each group of a tailnet that has some.
pub async fn count_members(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<BTreeMap<u64, u32>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT group_id, CAST(COUNT(DISTINCT user_id) AS BIGINT) AS members FROM group_members
         WHERE tailnet_id = $1 GROUP BY group_id",
    );
    let rows = rows.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    let read = |row: &AnyRow| {
        let members: i64 = row.try_get("members")?;
        let group = row.try_get::<i64, _>("group_id")?.cast_unsigned();
        Ok((group, u32::try_from(members).unwrap_or(u32::MAX)))
    };
    rows.iter().map(read).collect()
}

/// Returns the users who are in groups by a connection's claims.
pub async fn list_members_by_connection(
    on: &mut AnyConnection,
    connection_id: u64,
) -> Result<Vec<u64>, DatabaseError> {
    let query =
        "SELECT DISTINCT user_id FROM group_members WHERE connection_id = $1 ORDER BY user_id";
    let query = sqlx::query_scalar::<_, i64>(query).bind(connection_id.cast_signed());
    let found = query.fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Forgets what a connection's claims said.
pub async fn delete_members_by_connection(
    on: &mut AnyConnection,
    connection_id: u64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM group_members WHERE connection_id = $1");
    let query = query.bind(connection_id.cast_signed());
    query.execute(on).await?;
    Ok(())
}

/// Records a membership. Repeated it changes nothing.
pub async fn add_member(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
    membership: &Membership,
) -> Result<(), DatabaseError> {
    add_members(on, tailnet_id, &[user_id], membership).await
}

/// Records that users are in a group, [`MOST_IDS`](super::MOST_IDS) at most. Repeated it changes nothing.
pub async fn add_members(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_ids: &[u64],
    membership: &Membership,
) -> Result<(), DatabaseError> {
    let rows = format_rows(user_ids.len(), 5);
    let query = format!(
        "INSERT INTO group_members (user_id, group_id, source, connection_id, tailnet_id)
         VALUES {rows} ON CONFLICT DO NOTHING"
    );
    let mut query = sqlx::query(AssertSqlSafe(query));
    for user_id in user_ids {
        query = query
            .bind(user_id.cast_signed())
            .bind(membership.group_id.cast_signed())
            .bind(i64::from(membership.source))
            .bind(membership.connection_id.cast_signed())
            .bind(tailnet_id.cast_signed());
    }
    query.execute(on).await?;
    Ok(())
}

/// Forgets a membership.
pub async fn remove_member(
    on: &mut AnyConnection,
    user_id: u64,
    membership: &Membership,
) -> Result<(), DatabaseError> {
    remove_members(on, &[user_id], membership).await
}

/// Forgets that users are in a group, [`MOST_IDS`](super::MOST_IDS) at most.
pub async fn remove_members(
    on: &mut AnyConnection,
    user_ids: &[u64],
    membership: &Membership,
) -> Result<(), DatabaseError> {
    let places = format_placeholders(4, user_ids.len());
    let query = format!(
        "DELETE FROM group_members
         WHERE group_id = $1 AND source = $2 AND connection_id = $3 AND user_id IN ({places})"
    );
    let mut query = sqlx::query(AssertSqlSafe(query))
        .bind(membership.group_id.cast_signed())
        .bind(i64::from(membership.source))
        .bind(membership.connection_id.cast_signed());
    for user_id in user_ids {
        query = query.bind(user_id.cast_signed());
    }
    query.execute(on).await?;
    Ok(())
}

/// Forgets the memberships of a user: the user is gone.
pub async fn delete_memberships(on: &mut AnyConnection, user_id: u64) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM group_members WHERE user_id = $1");
    query.bind(user_id.cast_signed()).execute(on).await?;
    Ok(())
}
