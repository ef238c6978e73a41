//! A database that a backup is taken of.

use std::io::Write;

use futures_util::TryStreamExt as _;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::{
    BackupError, BackupWriter,
    file::{Line, Mark},
    tables::{Column, ColumnKind, list_tables},
};
use crate::SqlDialect;

/// What is not part of a backup: which processes live.
const LEFT_OUT: &[&str] = &["processes"];

/// A PostgreSQL database or a SQLite file, as it was when it was opened.
#[derive(Debug)]
pub struct BackupSource {
    connection: AnyConnection,
}

impl BackupSource {
    /// Opens `sqlite://PATH` or `postgres://…`: what is read is of this moment.
    ///
    /// # Errors
    ///
    /// When it does not answer, or is not there.
    pub async fn open(url: &str) -> Result<Self, BackupError> {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(url).await?;
        let (begin, first) = match SqlDialect::of(&connection) {
            SqlDialect::Postgres => (
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                "SELECT 1",
            ),
            SqlDialect::Sqlite => ("BEGIN", "SELECT COUNT(*) FROM sqlite_master"),
        };
        for statement in [begin, first] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        Ok(Self { connection })
    }

    pub(super) async fn write_tables<W: Write>(
        &mut self,
        schema: &str,
        writer: &mut BackupWriter<W>,
        tell: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), BackupError> {
        let dialect = SqlDialect::of(&self.connection);
        for (name, columns) in list_tables(&mut self.connection, schema).await? {
            if LEFT_OUT.contains(&&*name) {
                continue;
            }
            let rows = self.write_table(schema, &name, columns, writer).await?;
            tell(&name, rows);
        }
        if dialect == SqlDialect::Postgres {
            // SQLite has a table for it.
            let columns = vec![Column {
                name: "last".to_owned(),
                kind: ColumnKind::Integer,
            }];
            let name = "ids".to_owned();
            writer.write_mark(Mark::Table { name, columns })?;
            let sql = format!(
                "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {schema}.ids"
            );
            let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql));
            let last = query.fetch_one(&mut self.connection).await?;
            writer.write_line(&Line::Row(vec![last.into()]))?;
            tell("ids", 1);
        }
        Ok(())
    }

    async fn write_table<W: Write>(
        &mut self,
        schema: &str,
        name: &str,
        columns: Vec<Column>,
        writer: &mut BackupWriter<W>,
    ) -> Result<u64, BackupError> {
        let names: Vec<_> = columns.iter().map(|column| &*column.name).collect();
        let from = match SqlDialect::of(&self.connection) {
            SqlDialect::Postgres => format!("{schema}.{name}"),
            SqlDialect::Sqlite => name.to_owned(),
        };
        let sql = format!("SELECT {} FROM {from}", names.join(", "));
        writer.write_mark(Mark::Table {
            name: name.to_owned(),
            columns: columns.clone(),
        })?;
        let mut count = 0;
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await? {
            let values = columns.iter().enumerate();
            let values = values.map(|(place, column)| column.kind.read(&row, place));
            writer.write_line(&Line::Row(values.collect::<Result<_, _>>()?))?;
            count += 1;
        }
        Ok(count)
    }
}
