//! The rows of the registry: one message a row, with the columns that are looked up.

pub mod adoptions;
pub mod approval_questions;
pub mod approvals;
pub mod barred_users;
pub mod elections;
pub mod expiry_notices;
pub mod gateways;
pub mod kept_out_machines;
pub mod lags;
pub mod locks;
pub mod merged_users;
pub mod node_attributes;
pub mod node_keys;
pub mod nodes;
pub mod paces;
pub mod pools;
pub mod pre_auth_keys;
pub mod presented_keys;
pub mod registrants;
pub mod retired_keys;
pub mod rotation_rules;
pub mod soft_states;
pub mod tailnets;

use bowline_db::DatabaseError;
use bowline_proto::key_registry::v1::Node;
use prost::Message;
use sqlx::{Row, any::AnyRow};

/// A node, named with its tailnet; ordered by tailnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TailnetNode {
    /// The tailnet.
    pub tailnet_id: u64,
    /// The node.
    pub node_id: u64,
}

impl From<&Node> for TailnetNode {
    fn from(node: &Node) -> Self {
        Self {
            tailnet_id: node.tailnet_id,
            node_id: node.id,
        }
    }
}

/// Reads the message in a row's body.
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

/// Reads the message in a column, if there is one.
fn decode_optional<M: Message + Default>(
    table: &'static str,
    row: &AnyRow,
    column: &str,
) -> Result<Option<M>, DatabaseError> {
    let body: Option<Vec<u8>> = row.try_get(column)?;
    let message = body.map(|body| M::decode(&*body)).transpose();
    message.map_err(|_| DatabaseError::Inconsistent {
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

/// Returns the messages that can be read: work on many rows is not held up by one that can not.
fn decode_readable<M: Message + Default>(table: &'static str, rows: &[AnyRow]) -> Vec<M> {
    let read = rows.iter().map(|row| decode_body(table, row));
    read.filter_map(|message| {
        message
            .inspect_err(|error| tracing::error!(%error, "a row is left out"))
            .ok()
    })
    .collect()
}
