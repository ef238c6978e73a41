//! Nodes.

use bowline_db::{DatabaseError, StatementGroup, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

use super::{decode_bodies, decode_body, decode_readable};
use crate::domain::{
    from_timestamp, lock,
    node_limits::NodeCounts,
    rotation::MachineNode,
    routes::{self, Router},
    standing,
};

/// What a node conflicts with that has the key of another.
pub const KEY_OF_ONE: &str = "nodes_node_key_key";

fn read_optional(row: Option<AnyRow>) -> Result<Option<Node>, DatabaseError> {
    row.map(|row| decode_body("nodes", &row)).transpose()
}

/// Returns the node a key is bound to, whatever its tailnet.
pub async fn by_key<'e>(
    on: impl Executor<'e, Database = Any>,
    node_key: &[u8],
) -> Result<Option<Node>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM nodes WHERE node_key = $1").bind(node_key.to_vec());
    read_optional(query.fetch_optional(on).await?)
}

/// Returns the node with a number, of any tailnet.
pub async fn by_number<'e>(
    on: impl Executor<'e, Database = Any>,
    id: u64,
) -> Result<Option<Node>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM nodes WHERE id = $1").bind(id.cast_signed());
    read_optional(query.fetch_optional(on).await?)
}

/// Returns the node a login made.
pub async fn by_login<'e>(
    on: impl Executor<'e, Database = Any>,
    login_id: &str,
) -> Result<Option<Node>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM nodes WHERE login_id = $1").bind(login_id.to_owned());
    read_optional(query.fetch_optional(on).await?)
}

/// Returns a node of a tailnet.
pub async fn by_id<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    id: u64,
) -> Result<Option<Node>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM nodes WHERE tailnet_id = $1 AND id = $2")
        .bind(tailnet_id.cast_signed())
        .bind(id.cast_signed());
    read_optional(query.fetch_optional(on).await?)
}

/// Returns how many nodes a tailnet and one of its users have.
pub async fn count_nodes(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
) -> Result<NodeCounts, DatabaseError> {
    let query = sqlx::query_scalar("SELECT COUNT(*) FROM nodes WHERE tailnet_id = $1");
    let query = query.bind(tailnet_id.cast_signed());
    let of_tailnet: i64 = query.fetch_one(&mut *on).await?;
    let sql = "SELECT COUNT(*) FROM nodes WHERE tailnet_id = $1 AND user_id = $2";
    let query = sqlx::query_scalar(sql).bind(tailnet_id.cast_signed());
    let of_user: i64 = match user_id {
        0 => 0,
        _ => query.bind(user_id.cast_signed()).fetch_one(on).await?,
    };
    Ok(NodeCounts {
        of_tailnet: of_tailnet.cast_unsigned(),
        of_user: of_user.cast_unsigned(),
    })
}

/// Returns the nodes of a tailnet by number.
pub async fn of_tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM nodes WHERE tailnet_id = $1 ORDER BY id");
    decode_bodies(
        "nodes",
        &query.bind(tailnet_id.cast_signed()).fetch_all(on).await?,
    )
}

/// Returns some nodes of a tailnet by number, from after one on.
pub async fn list_after(
    on: &mut AnyConnection,
    tailnet_id: u64,
    after: u64,
    limit: u32,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE tailnet_id = $1 AND id > $2 ORDER BY id LIMIT $3",
    );
    let query = query.bind(tailnet_id.cast_signed());
    let query = query.bind(after.cast_signed()).bind(i64::from(limit));
    decode_bodies("nodes", &query.fetch_all(on).await?)
}

/// Returns the nodes of a tailnet that route something, as an election sees them.
pub async fn list_routers<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<Router>, DatabaseError> {
    let query = sqlx::query(
        "SELECT nodes.body AS body, soft_states.online AS online, barred_users.user_id AS barred FROM nodes
         LEFT JOIN soft_states ON soft_states.node_id = nodes.id
         LEFT JOIN barred_users ON barred_users.tailnet_id = nodes.tailnet_id
             AND barred_users.user_id = nodes.user_id
         WHERE nodes.tailnet_id = $1 AND nodes.routes = 1 ORDER BY nodes.id",
    );
    let rows = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    let router = |row: &AnyRow| {
        let node: Node = decode_body("nodes", row)?;
        let online: Option<i64> = row.try_get("online")?;
        let barred: Option<i64> = row.try_get("barred")?;
        let is_cut_off = standing::is_cut_off(&node, barred.is_some());
        Ok(Router {
            node,
            online: online == Some(1) && !is_cut_off,
        })
    };
    rows.iter().map(router).collect()
}

/// Returns the nodes of a machine in a tailnet whose key has ended, that have a live session, or of this number, last seen
/// first.
pub async fn of_machine(
    on: &mut AnyConnection,
    tailnet_id: u64,
    machine_key: &[u8],
    former_holder: Option<u64>,
    now: DateTime<Utc>,
) -> Result<Vec<MachineNode>, DatabaseError> {
    /// A machine that makes nodes without end is no reason to read them all.
    const MOST: i64 = 100;
    let query = sqlx::query(
        "SELECT nodes.body AS body, soft_states.online AS online, soft_states.offline_at AS offline_at,
             barred_users.user_id AS barred
         FROM nodes
         LEFT JOIN soft_states ON soft_states.node_id = nodes.id
         LEFT JOIN barred_users ON barred_users.tailnet_id = nodes.tailnet_id
             AND barred_users.user_id = nodes.user_id
         WHERE nodes.tailnet_id = $1 AND nodes.machine_key = $2
             AND (nodes.expired = 1 OR nodes.key_expiry <= CAST($3 AS BIGINT) OR soft_states.online = 1
                OR nodes.id = CAST($5 AS BIGINT))
         ORDER BY COALESCE(soft_states.last_seen, 0) DESC, nodes.id DESC LIMIT $4",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(machine_key.to_vec())
        .bind(to_micros(now))
        .bind(MOST)
        .bind(former_holder.map_or(0, u64::cast_signed));
    let read = |row: &AnyRow| {
        let online: Option<i64> = row.try_get("online")?;
        let offline_at: Option<i64> = row.try_get("offline_at")?;
        let barred: Option<i64> = row.try_get("barred")?;
        Ok(MachineNode {
            node: decode_body("nodes", row)?,
            is_live: online == Some(1) && offline_at.is_none(),
            is_user_barred: barred.is_some(),
        })
    };
    query.fetch_all(on).await?.iter().map(read).collect()
}

/// Says whether a machine has a node in any tailnet.
pub async fn has_machine<'e>(
    on: impl Executor<'e, Database = Any>,
    machine_key: &[u8],
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("SELECT id FROM nodes WHERE machine_key = $1 LIMIT 1");
    let found = query.bind(machine_key.to_vec()).fetch_optional(on).await?;
    Ok(found.is_some())
}

/// Returns some nodes of a machine in a tailnet that an administrator keeps out.
pub async fn kept_out_of_machine<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    machine_key: &[u8],
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE machine_key = $2 AND tailnet_id = $1 AND kept_out = 1 LIMIT 100",
    );
    let query = query.bind(tailnet_id.cast_signed());
    let query = query.bind(machine_key.to_vec());
    decode_bodies("nodes", &query.fetch_all(on).await?)
}

/// Returns some nodes of a machine in a tailnet.
pub async fn all_of_machine<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    machine_key: &[u8],
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE tailnet_id = $1 AND machine_key = $2 ORDER BY id LIMIT 1000",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(machine_key.to_vec());
    decode_bodies("nodes", &query.fetch_all(on).await?)
}

/// Returns the users who have nodes in a tailnet, tagged ones included.
pub async fn list_owners(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT DISTINCT user_id FROM nodes WHERE tailnet_id = $1 AND user_id <> 0",
    );
    let found = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Returns the nodes of a user.
pub async fn of_user<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    user_id: u64,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM nodes WHERE tailnet_id = $1 AND user_id = $2")
        .bind(tailnet_id.cast_signed())
        .bind(user_id.cast_signed());
    decode_bodies("nodes", &query.fetch_all(on).await?)
}

/// Returns some nodes whose key ended by time and is not marked so.
pub async fn list_due<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE expired = 0 AND key_expiry <= $1 ORDER BY key_expiry LIMIT 1000",
    );
    let found = query.bind(to_micros(now)).fetch_all(on).await?;
    Ok(decode_readable("nodes", &found))
}

/// Returns some ephemeral nodes that are not online, and neither were nor got their key since `since`: those whose
/// session is known to have ended, because that was reported or because its gateway is gone; and those that have never
/// reported anything, and got their key before `never_seen_since`. One that is kept out stays: its machine would be let in as a
/// new one.
pub async fn list_abandoned<'e>(
    on: impl Executor<'e, Database = Any>,
    since: DateTime<Utc>,
    never_seen_since: DateTime<Utc>,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT nodes.body AS body FROM nodes
         JOIN node_keys ON node_keys.node_key = nodes.node_key
         LEFT JOIN soft_states ON soft_states.node_id = nodes.id
         WHERE nodes.ephemeral = 1 AND nodes.kept_out = 0 AND node_keys.bound_at < $1
             AND ((COALESCE(soft_states.last_seen, 0) = 0 AND node_keys.bound_at < $2)
                 OR (soft_states.online = 0 AND soft_states.last_seen > 0 AND soft_states.last_seen < $1
                     AND NOT EXISTS (SELECT 1 FROM gateways WHERE gateways.gateway = soft_states.gateway AND gateways.has_left = 0)))
         LIMIT 1000",
    );
    let query = query
        .bind(to_micros(since))
        .bind(to_micros(never_seen_since));
    let found = query.fetch_all(on).await?;
    Ok(decode_readable("nodes", &found))
}

/// Says how many nodes of a tailnet have this label, or one made from it.
pub async fn count_named(
    on: &mut AnyConnection,
    tailnet_id: u64,
    label: &str,
) -> Result<u64, DatabaseError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM nodes WHERE tailnet_id = $1 AND (name = $2 OR name LIKE $3)",
    )
    .bind(tailnet_id.cast_signed())
    .bind(label.to_owned())
    .bind(format!("{label}-%"))
    .fetch_one(on)
    .await?;
    Ok(count.cast_unsigned())
}

/// Says which node of a tailnet has a name.
pub async fn find_named(
    on: &mut AnyConnection,
    tailnet_id: u64,
    name: &str,
) -> Result<Option<u64>, DatabaseError> {
    let id: Option<i64> =
        sqlx::query_scalar("SELECT id FROM nodes WHERE tailnet_id = $1 AND name = $2")
            .bind(tailnet_id.cast_signed())
            .bind(name.to_owned())
            .fetch_optional(on)
            .await?;
    Ok(id.map(i64::cast_unsigned))
}

/// Returns the name of the node of a tailnet that has one of these addresses.
pub async fn find_at(
    on: &mut AnyConnection,
    tailnet_id: u64,
    [ipv4, ipv6]: [&String; 2],
) -> Result<Option<String>, DatabaseError> {
    let query = sqlx::query_scalar(
        "SELECT name FROM nodes WHERE tailnet_id = $1 AND (ipv4 = $2 OR ipv6 = $3)",
    );
    let query = query.bind(tailnet_id.cast_signed());
    let query = query.bind(ipv4.clone()).bind(ipv6.clone());
    Ok(query.fetch_optional(on).await?)
}

/// Writes a node; the login that made it stays.
pub async fn put_node(
    on: &mut AnyConnection,
    node: &Node,
    login_id: Option<String>,
) -> Result<(), DatabaseError> {
    let mut group = StatementGroup::default();
    add_node(&mut group, node, login_id);
    group.execute(on).await
}

/// Writes a node, with other statements.
pub fn add_node(group: &mut StatementGroup, node: &Node, login_id: Option<String>) {
    group.add(
        "INSERT INTO nodes (id, tailnet_id, node_key, machine_key, user_id, name, ipv4, ipv6, login_id,
             key_expiry, expired, ephemeral, routes, body, approved, kept_out,
             lock_signer, awaits_signature)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         ON CONFLICT (id) DO UPDATE SET node_key = excluded.node_key, user_id = excluded.user_id,
             name = excluded.name, login_id = COALESCE(excluded.login_id, nodes.login_id),
             key_expiry = excluded.key_expiry, expired = excluded.expired,
             ephemeral = excluded.ephemeral, routes = excluded.routes, body = excluded.body,
             approved = excluded.approved, kept_out = excluded.kept_out,
             lock_signer = excluded.lock_signer, awaits_signature = excluded.awaits_signature",
    );
    group
        .bind(node.id.cast_signed())
        .bind(node.tailnet_id.cast_signed());
    group
        .bind(node.node_key.clone())
        .bind(node.machine_key.clone());
    group
        .bind(node.user_id.cast_signed())
        .bind(node.name.clone());
    group.bind(node.ipv4.clone()).bind(node.ipv6.clone());
    group.bind(login_id);
    group.bind(node.key_expiry.and_then(from_timestamp).map(to_micros));
    group
        .bind(i64::from(node.expired))
        .bind(i64::from(node.ephemeral));
    let is_router =
        routes::usable_subnets(node).next().is_some() || !node.primary_routes.is_empty();
    group.bind(i64::from(is_router)).bind(node.encode_to_vec());
    group
        .bind(i64::from(node.approved))
        .bind(i64::from(node.is_kept_out()));
    group.bind(lock::signer_of(node).map(|signer| signer.to_vec()));
    group.bind(i64::from(node.awaits_signature));
}

/// Removes a node; its key stays in the history.
pub async fn delete_node(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    for sql in [
        "DELETE FROM nodes WHERE id = $1",
        "DELETE FROM soft_states WHERE node_id = $1",
        "DELETE FROM adoptions WHERE node_id = $1",
        "DELETE FROM approval_questions WHERE node_id = $1",
        "DELETE FROM node_attributes WHERE node_id = $1",
    ] {
        sqlx::query(sql)
            .bind(id.cast_signed())
            .execute(&mut *on)
            .await?;
    }
    Ok(())
}
