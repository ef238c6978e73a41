//! The rows of a table on their way from a backup into a database.

use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::{BackupError, tables::Column};
use crate::{
    DatabaseOptions, SqlDialect,
    migration::{self, AppliedStep},
    statements::{MOST_ROWS, insert_sql},
};

/// The most values of one statement: SQLite's limit is 32,766.
const MOST_VALUES: usize = 30_000;
/// The most bytes of rows in one statement, roughly: a row has up to several megabytes.
const MOST_BYTES: usize = 8 << 20;

/// The rows of a table that are not written yet.
#[derive(Debug, Default)]
pub(super) struct TableRows {
    pub(super) name: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    bytes: usize,
    count: u64,
}

impl TableRows {
    pub(super) fn begin(&mut self, name: String, columns: Vec<Column>) {
        *self = Self {
            name,
            columns,
            ..Self::default()
        };
    }

    fn is_migrations(&self) -> bool {
        self.name == "migrations"
    }

    pub(super) async fn push(
        &mut self,
        on: &mut AnyConnection,
        row: Vec<Value>,
    ) -> Result<(), BackupError> {
        if row.len() != self.columns.len() {
            return Err(BackupError::Damaged(
                "a row has not one value for each column",
            ));
        }
        self.bytes += row
            .iter()
            .map(|value| value.as_str().map_or(8, str::len))
            .sum::<usize>();
        self.count += 1;
        self.rows.push(row);
        let most = MOST_ROWS.min(MOST_VALUES / self.columns.len().max(1));
        if !self.is_migrations() && (self.rows.len() >= most || self.bytes >= MOST_BYTES) {
            self.write(on).await?;
        }
        Ok(())
    }

    /// Ends a table. The first, with the migrations, makes the others as they were.
    pub(super) async fn finish_table(
        &mut self,
        on: &mut AnyConnection,
        options: &DatabaseOptions,
        release: &str,
        tell: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), BackupError> {
        if self.is_migrations() {
            let steps = self.rows.iter().map(|row| read_step(row));
            let steps = steps.collect::<Result<Vec<_>, _>>()?;
            return match migration::repeat_steps(on, options, &steps).await? {
                true => Ok(()),
                false => Err(BackupError::Newer(release.to_owned())),
            };
        }
        self.write(on).await?;
        tell(&self.name, self.count);
        Ok(())
    }

    async fn write(&mut self, on: &mut AnyConnection) -> Result<(), BackupError> {
        let is_sequence = self.name == "ids" && SqlDialect::of(on) == SqlDialect::Postgres;
        if is_sequence {
            if let Some(last) = self
                .rows
                .drain(..)
                .next_back()
                .and_then(|row| row.first()?.as_i64())
                && last > 0
            {
                let sql = format!("SELECT setval('ids', {last})");
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(on).await?;
            }
            return Ok(());
        }
        if self.count == self.rows.len() as u64 {
            // What a migration has put there is among the rows.
            let sql = format!("DELETE FROM {}", checked_name(&self.name)?);
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *on).await?;
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let names = self.columns.iter().map(|column| checked_name(&column.name));
        let names = names.collect::<Result<Vec<_>, _>>()?.join(", ");
        let table = format!("{} ({names})", checked_name(&self.name)?);
        let sql = insert_sql(&table, self.columns.len(), self.rows.len());
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for row in self.rows.drain(..) {
            for (column, value) in self.columns.iter().zip(row) {
                query = column.kind.bind(query, value)?;
            }
        }
        query.execute(on).await?;
        self.bytes = 0;
        Ok(())
    }
}

fn read_step(row: &[Value]) -> Result<AppliedStep, BackupError> {
    let text = |place: usize| row.get(place).and_then(Value::as_str).map(str::to_owned);
    let number = |place: usize| row.get(place).and_then(Value::as_i64);
    let read = || {
        Some(AppliedStep {
            family: text(0)?,
            number: number(1)?,
            name: text(2)?,
            least_level: 0,
        })
    };
    read().ok_or(BackupError::Damaged("its migrations can not be understood"))
}

/// Returns a name that stands in a statement.
fn checked_name(name: &str) -> Result<&str, BackupError> {
    let is_plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match is_plain {
        true => Ok(name),
        false => Err(BackupError::Damaged("a table or column has no proper name")),
    }
}
