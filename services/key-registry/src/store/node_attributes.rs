//! What is looked up of nodes' custom attributes.

use std::collections::BTreeSet;

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::key_registry::v1::{CustomAttribute, Node};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _};

use super::TailnetNode;
use crate::domain::{attributes::AttributeKindName, from_timestamp};

/// How many nodes are returned whose attributes have ended.
const MOST_DUE: i64 = 1000;

/// Says which type an attribute has at some node of a tailnet, and the name of that node.
pub async fn find_kind(
    on: &mut AnyConnection,
    tailnet_id: u64,
    name: &str,
) -> Result<Option<(AttributeKindName, String)>, DatabaseError> {
    let query = sqlx::query(
        "SELECT node_attributes.kind AS kind, nodes.name AS node FROM node_attributes
         JOIN nodes ON nodes.id = node_attributes.node_id
         WHERE node_attributes.tailnet_id = $1 AND node_attributes.name = $2 LIMIT 1",
    );
    let query = query.bind(tailnet_id.cast_signed()).bind(name.to_owned());
    let Some(row) = query.fetch_optional(on).await? else {
        return Ok(None);
    };
    let kind: String = row.try_get("kind")?;
    let kind = AttributeKindName::parse(&kind).ok_or_else(|| DatabaseError::Inconsistent {
        table: "node_attributes",
        row: format!("{kind} is no type"),
    })?;
    Ok(Some((kind, row.try_get("node")?)))
}

/// Notes the attributes that a node has.
pub async fn put_attributes(on: &mut AnyConnection, node: &Node) -> Result<(), DatabaseError> {
    delete_attributes(on, node.id).await?;
    for attribute in &node.attributes {
        put_attribute(on, node, attribute).await?;
    }
    Ok(())
}

async fn put_attribute(
    on: &mut AnyConnection,
    node: &Node,
    attribute: &CustomAttribute,
) -> Result<(), DatabaseError> {
    let value = attribute.value.as_ref();
    let Some(value) = value.and_then(|value| value.kind.as_ref()) else {
        return Ok(());
    };
    let end = attribute.expires_at.and_then(from_timestamp);
    sqlx::query(
        "INSERT INTO node_attributes (node_id, tailnet_id, name, kind, expires_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(node.id.cast_signed())
    .bind(node.tailnet_id.cast_signed())
    .bind(attribute.name.clone())
    .bind(AttributeKindName::of_value(value).name())
    .bind(end.map(to_micros))
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets a node's attributes.
pub async fn delete_attributes(on: &mut AnyConnection, node_id: u64) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM node_attributes WHERE node_id = $1");
    query.bind(node_id.cast_signed()).execute(on).await?;
    Ok(())
}

/// Returns some nodes with attributes that have ended by a time.
pub async fn list_due<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<BTreeSet<TailnetNode>, DatabaseError> {
    let query = sqlx::query(
        "SELECT tailnet_id, node_id FROM node_attributes WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
    );
    let rows = query.bind(to_micros(now)).bind(MOST_DUE).fetch_all(on);
    let rows = rows.await?;
    rows.iter()
        .map(|row| {
            Ok(TailnetNode {
                tailnet_id: row.try_get::<i64, _>(0)?.cast_unsigned(),
                node_id: row.try_get::<i64, _>(1)?.cast_unsigned(),
            })
        })
        .collect()
}
