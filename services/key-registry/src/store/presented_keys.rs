//! What is known of the keys that a registration presents, in one statement.

use bowline_db::{Database, DatabaseError};
use bowline_proto::key_registry::v1::{FormerHolder, Node, PreAuthKey, RegisterRequest};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use super::retired_keys;
use crate::domain::retired_key::hash_key;

/// A pre-auth key, with the hash of its text.
#[derive(Clone, Debug)]
pub struct StoredPreAuthKey {
    /// The key.
    pub key: PreAuthKey,
    /// The hash of its text.
    pub hash: Vec<u8>,
}

/// What is known of the keys that a registration presents.
#[derive(Debug)]
pub struct PresentedKeys {
    /// The node that has the node key.
    pub bound: Option<Node>,
    /// Who had the node key, if anybody.
    pub former: Option<FormerHolder>,
    /// The pre-auth key of the number that was asked for. Its text is not compared yet.
    pub pre_auth_key: Option<StoredPreAuthKey>,
    /// The time of the database.
    pub now: DateTime<Utc>,
}

/// Reads what is known of a request's keys; `pre_auth_key` is the number of the one that it presents.
pub async fn read_keys(
    database: &Database,
    request: &RegisterRequest,
    pre_auth_key: Option<&str>,
) -> Result<PresentedKeys, DatabaseError> {
    let sql = format!(
        "SELECT nodes.body AS node, node_keys.machine_key AS machine_key, node_keys.node_id AS key_node,
             retired_keys.machine_hash AS machine_hash, retired_keys.node_id AS retired_node,
             pre_auth_keys.body AS pre_auth_key, pre_auth_keys.hash AS hash, {} AS now
         FROM (SELECT 1 AS one) AS request
         LEFT JOIN nodes ON nodes.node_key = $1
         LEFT JOIN node_keys ON node_keys.node_key = $1
         LEFT JOIN retired_keys ON retired_keys.key_hash = $2
         LEFT JOIN pre_auth_keys ON pre_auth_keys.id = $3",
        database.time_sql()
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(request.node_key.clone());
    let query = query.bind(hash_key(&request.node_key));
    let query = query.bind(pre_auth_key.unwrap_or_default().to_owned());
    let row = query.fetch_one(database.reader()).await?;
    Ok(PresentedKeys {
        bound: super::decode_optional("nodes", &row, "node")?,
        former: read_former(&row, request)?,
        pre_auth_key: read_pre_auth_key(&row)?,
        now: database.read_time(row.try_get("now")?)?,
    })
}

fn read_former(
    row: &AnyRow,
    request: &RegisterRequest,
) -> Result<Option<FormerHolder>, DatabaseError> {
    if let Some(machine_key) = row.try_get("machine_key")? {
        return Ok(Some(FormerHolder {
            machine_key,
            node_id: row.try_get::<i64, _>("key_node")?.cast_unsigned(),
        }));
    }
    let machine: Option<Vec<u8>> = row.try_get("machine_hash")?;
    let Some(machine) = machine else {
        return Ok(None);
    };
    let (key, asked) = (&request.node_key, &request.machine_key);
    let node = row.try_get("retired_node")?;
    let holder = retired_keys::describe_holder(key, asked, &machine, node);
    Ok(Some(holder))
}

fn read_pre_auth_key(row: &AnyRow) -> Result<Option<StoredPreAuthKey>, DatabaseError> {
    let key = super::decode_optional("pre_auth_keys", row, "pre_auth_key")?;
    let Some(key) = key else {
        return Ok(None);
    };
    let hash = row.try_get("hash")?;
    Ok(Some(StoredPreAuthKey { key, hash }))
}
