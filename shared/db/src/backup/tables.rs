//! What tables are made of, in both databases.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AnyConnection, Row as _, any::AnyRow, query::Query};

use super::BackupError;
use crate::SqlDialect;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ColumnKind {
    Integer,
    Text,
    Bytes,
}

impl ColumnKind {
    fn parse(kind: &str) -> Option<Self> {
        match kind.to_ascii_lowercase().as_str() {
            "bigint" | "integer" => Some(Self::Integer),
            "text" => Some(Self::Text),
            "bytea" | "blob" => Some(Self::Bytes),
            _ => None,
        }
    }

    /// Returns the value of a column.
    pub(super) fn read(self, row: &AnyRow, place: usize) -> Result<Value, BackupError> {
        let value = match self {
            Self::Integer => row.try_get::<Option<i64>, _>(place)?.map(Value::from),
            Self::Text => row.try_get::<Option<String>, _>(place)?.map(Value::from),
            Self::Bytes => {
                let bytes = row.try_get::<Option<Vec<u8>>, _>(place)?;
                bytes.map(|bytes| Value::from(to_base64(&bytes)))
            }
        };
        Ok(value.unwrap_or(Value::Null))
    }

    /// Binds a value to a query.
    pub(super) fn bind<'q>(
        self,
        query: Query<'q, sqlx::Any, sqlx::any::AnyArguments>,
        value: Value,
    ) -> Result<Query<'q, sqlx::Any, sqlx::any::AnyArguments>, BackupError> {
        let wrong = BackupError::Damaged("a value is of another kind than its column");
        Ok(match (self, value) {
            (Self::Integer, Value::Null) => query.bind(None::<i64>),
            (Self::Integer, Value::Number(number)) => query.bind(number.as_i64().ok_or(wrong)?),
            (Self::Text, Value::Null) => query.bind(None::<String>),
            (Self::Text, Value::String(text)) => query.bind(text),
            (Self::Bytes, Value::Null) => query.bind(None::<Vec<u8>>),
            (Self::Bytes, Value::String(text)) => query.bind(from_base64(&text)?),
            _ => return Err(wrong),
        })
    }
}

/// Returns the tables of a schema with their columns, `migrations` first.
pub(super) async fn list_tables(
    on: &mut AnyConnection,
    schema: &str,
) -> Result<Vec<(String, Vec<Column>)>, BackupError> {
    let sql = match SqlDialect::of(on) {
        SqlDialect::Postgres => {
            // The catalogue also names tables that this account may not read, so that none is left out.
            "SELECT CAST(relname AS TEXT), CAST(attname AS TEXT), CAST(format_type(atttypid, NULL) AS TEXT)
             FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
             JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
             WHERE nspname = $1 AND relkind = 'r' ORDER BY relname, attnum"
        }
        SqlDialect::Sqlite => {
            "SELECT tables.name, columns.name, columns.type FROM sqlite_master AS tables
             JOIN pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%' AND $1 <> ''
             ORDER BY tables.name, columns.cid"
        }
    };
    let rows = sqlx::query(sql)
        .bind(schema.to_owned())
        .fetch_all(on)
        .await?;
    let mut tables: Vec<(String, Vec<Column>)> = Vec::new();
    for row in rows {
        let (table, name, kind): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Some(known) = ColumnKind::parse(&kind) else {
            let column = name;
            return Err(BackupError::Column {
                table,
                column,
                kind,
            });
        };
        let column = Column { name, kind: known };
        match tables.last_mut() {
            Some((last, columns)) if *last == table => columns.push(column),
            _ => tables.push((table, vec![column])),
        }
    }
    tables.sort_by_key(|(table, _)| table != "migrations");
    Ok(tables)
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(super) fn from_base64(text: &str) -> Result<Vec<u8>, BackupError> {
    let bytes = BASE64_STANDARD.decode(text);
    bytes.map_err(|_| BackupError::Damaged("what stands for bytes is not base64"))
}
