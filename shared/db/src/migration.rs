//! Brings a schema to what the program knows.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use crate::{DatabaseError, DatabaseOpenError, SqlDialect};

/// One numbered step of a schema, in both dialects.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// `NNNN_what`: the number is its place in the list, from 1.
    pub name: &'static str,
    /// The statements for PostgreSQL.
    pub postgres: &'static str,
    /// The statements for SQLite.
    pub sqlite: &'static str,
}

/// The steps of a schema, oldest first. [`migrations!`](crate::migrations) makes one from files.
pub type Migrations = &'static [Migration];

/// Includes the calling crate's `migrations/{postgres,sqlite}/NAME.sql` for each name, oldest first.
#[macro_export]
macro_rules! migrations {
    ($($name:literal),* $(,)?) => {
        &[$($crate::Migration {
            name: $name,
            postgres: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres/", $name, ".sql")),
            sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/", $name, ".sql")),
        }),*]
    };
}

/// The tables of this crate; they come before the service's.
const OWN: Migrations = migrations!["0001_change_log"];

/// Applies what is missing, each step in one transaction. On PostgreSQL the caller keeps other replicas away.
pub(crate) async fn migrate(
    connection: &mut AnyConnection,
    schema: &str,
    service: Migrations,
) -> Result<(), DatabaseOpenError> {
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS migrations (
            family TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (family, number))",
    )
    .execute(&mut *connection)
    .await
    .map_err(DatabaseError::from)?;
    for (family, steps) in [("database", OWN), ("service", service)] {
        let applied = read_applied(connection, family).await?;
        let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
        if let Some((found, _)) = applied.last().filter(|(found, _)| *found > known) {
            return Err(DatabaseOpenError::Newer {
                schema: schema.to_owned(),
                found: *found,
                known,
            });
        }
        for (number, step) in (1..).zip(steps) {
            match applied.iter().find(|(found, _)| *found == number) {
                Some((_, name)) if name == step.name => {}
                Some((_, name)) => {
                    let (schema, found) = (schema.to_owned(), name.clone());
                    return Err(DatabaseOpenError::Foreign {
                        schema,
                        number,
                        found,
                        expected: step.name,
                    });
                }
                None => apply_step(connection, family, number, step)
                    .await
                    .map_err(|source| DatabaseOpenError::Migration {
                        schema: schema.to_owned(),
                        name: step.name,
                        source,
                    })?,
            }
        }
    }
    Ok(())
}

async fn read_applied(
    connection: &mut AnyConnection,
    family: &str,
) -> Result<Vec<(i64, String)>, DatabaseError> {
    let rows = sqlx::query("SELECT number, name FROM migrations WHERE family = $1 ORDER BY number")
        .bind(family.to_owned())
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

async fn apply_step(
    connection: &mut AnyConnection,
    family: &str,
    number: i64,
    step: &Migration,
) -> Result<(), DatabaseError> {
    let (begin, sql) = match SqlDialect::of(connection) {
        SqlDialect::Postgres => ("BEGIN", step.postgres),
        SqlDialect::Sqlite => ("BEGIN IMMEDIATE", step.sqlite),
    };
    let mut transaction = connection.begin_with(begin).await?;
    let claim =
        "INSERT INTO migrations (family, number, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let claimed = sqlx::query(claim)
        .bind(family.to_owned())
        .bind(number)
        .bind(step.name)
        .execute(&mut *transaction)
        .await?;
    if claimed.rows_affected() == 0 {
        // On SQLite another process was faster.
        return Ok(());
    }
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    tracing::info!(migration = step.name, "schema migrated");
    Ok(())
}
