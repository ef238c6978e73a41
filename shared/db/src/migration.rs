//! Brings a schema to what the program knows.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row, any::AnyRow};

use crate::{DatabaseError, DatabaseOpenError, DatabaseOptions, SqlDialect, schema_levels};

/// One numbered step of a schema, in both dialects.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// `NNNN_what`: numbers grow, and are not always the place in the list.
    pub name: &'static str,
    /// The statements for PostgreSQL.
    pub postgres: &'static str,
    /// The statements for SQLite.
    pub sqlite: &'static str,
    /// The schema level that a process needs to work with the schema afterwards: 0 for a step that only adds.
    pub least_level: u32,
}

/// The steps of a schema, oldest first. [`migrations!`](crate::migrations) makes one from files.
pub type Migrations = &'static [Migration];

/// Includes the calling crate's `migrations/{postgres,sqlite}/NAME.sql` for each name, oldest first. All of them only add:
/// processes of the release before work with the schema as well.
#[macro_export]
macro_rules! migrations {
    ($($name:literal),* $(,)?) => {
        &[$($crate::Migration {
            name: $name,
            postgres: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres/", $name, ".sql")),
            sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/", $name, ".sql")),
            least_level: 0,
        }),*]
    };
}

/// The tables of this crate; they come before the service's.
const OWN: Migrations = migrations![
    "0001_change_log",
    "0002_schema_levels",
    "0003_epochs",
    "0004_certificate_ends",
    "0005_audit_exports",
    "0007_audit_export_times",
    "0008_kept_answers",
];

/// Applies what is missing, each step in one transaction, and returns the schema level that is in use. On PostgreSQL the
/// caller keeps other replicas away.
pub(crate) async fn migrate(
    connection: &mut AnyConnection,
    schema: &str,
    options: &DatabaseOptions,
) -> Result<u32, DatabaseOpenError> {
    make_table(connection).await?;
    let mut is_new = true;
    for (family, steps) in [("database", OWN), ("service", options.migrations)] {
        let applied = read_applied(connection, family).await?;
        is_new &= applied.is_empty();
        // What a newer release has added is there beside what is known here.
        let needed = applied.iter().map(|step| step.least_level).max();
        check_level(schema, needed.unwrap_or_default(), options.level)?;
        for (number, step) in (1..).zip(steps) {
            match applied.iter().find(|found| found.number == number) {
                Some(found) if found.name == step.name => {}
                Some(found) => {
                    return Err(DatabaseOpenError::Foreign {
                        schema: schema.to_owned(),
                        number,
                        found: found.name.clone(),
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
    if is_new {
        schema_levels::record_first_level(connection, options).await?;
    }
    let in_use = schema_levels::read_level(connection).await?;
    check_level(schema, in_use, options.level)?;
    Ok(in_use)
}

fn check_level(schema: &str, needed: u32, known: u32) -> Result<(), DatabaseOpenError> {
    if needed <= known {
        return Ok(());
    }
    Err(DatabaseOpenError::Newer {
        schema: schema.to_owned(),
        needed,
        known,
    })
}

/// A step that was applied, maybe by another release.
#[derive(Clone, Debug)]
pub(crate) struct AppliedStep {
    pub(crate) family: String,
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) least_level: u32,
}

/// Applies to an empty schema, in the transaction under way, the steps that another one had, and all of this crate. `false` when
/// one of them is not known here.
pub(crate) async fn repeat_steps(
    connection: &mut AnyConnection,
    options: &DatabaseOptions,
    steps: &[AppliedStep],
) -> Result<bool, DatabaseError> {
    make_table(connection).await?;
    let families = [("database", OWN), ("service", options.migrations)];
    let is_known = |step: &AppliedStep| {
        let known = families.iter().find(|(family, _)| *family == step.family);
        let place = usize::try_from(step.number - 1).ok();
        let known = known
            .zip(place)
            .and_then(|((_, steps), place)| steps.get(place));
        known.is_some_and(|known| known.name == step.name)
    };
    if !steps.iter().all(is_known) {
        return Ok(false);
    }
    for (family, known) in families {
        for (number, step) in (1..).zip(known) {
            let had = |had: &AppliedStep| had.family == family && had.number == number;
            if family == "database" || steps.iter().any(had) {
                run_step(connection, family, number, step).await?;
            }
        }
    }
    Ok(true)
}

async fn make_table(connection: &mut AnyConnection) -> Result<(), DatabaseError> {
    if SqlDialect::of(connection) == SqlDialect::Postgres {
        // Asking first: an account may use its schema without the right to make tables.
        let query = sqlx::query_scalar(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'migrations'",
        );
        let count: i64 = query.fetch_one(&mut *connection).await?;
        if count > 0 {
            return Ok(());
        }
    }
    let sql = "CREATE TABLE IF NOT EXISTS migrations (
        family TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (family, number))";
    sqlx::query(sql).execute(connection).await?;
    Ok(())
}

async fn read_applied(
    connection: &mut AnyConnection,
    family: &str,
) -> Result<Vec<AppliedStep>, DatabaseError> {
    // Not kept: a step may add a column.
    let rows = sqlx::query("SELECT * FROM migrations WHERE family = $1 ORDER BY number")
        .persistent(false)
        .bind(family.to_owned())
        .fetch_all(connection)
        .await?;
    let read = |row: &AnyRow| {
        Ok(AppliedStep {
            family: family.to_owned(),
            number: row.try_get("number")?,
            name: row.try_get("name")?,
            // A schema of an earlier release has no such column.
            least_level: row
                .try_get::<i64, _>("least_level")
                .map_or(0, schema_levels::to_level),
        })
    };
    rows.iter().map(read).collect()
}

async fn apply_step(
    connection: &mut AnyConnection,
    family: &str,
    number: i64,
    step: &Migration,
) -> Result<(), DatabaseError> {
    let begin = match SqlDialect::of(connection) {
        SqlDialect::Postgres => "BEGIN",
        SqlDialect::Sqlite => "BEGIN IMMEDIATE",
    };
    let mut transaction = connection.begin_with(begin).await?;
    if run_step(&mut transaction, family, number, step).await? {
        transaction.commit().await?;
        tracing::info!(migration = step.name, "schema migrated");
    }
    Ok(())
}

/// Runs a step in the transaction under way; `false` when it was applied before.
async fn run_step(
    connection: &mut AnyConnection,
    family: &str,
    number: i64,
    step: &Migration,
) -> Result<bool, DatabaseError> {
    let claim =
        "INSERT INTO migrations (family, number, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let claimed = sqlx::query(claim)
        .bind(family.to_owned())
        .bind(number)
        .bind(step.name)
        .execute(&mut *connection)
        .await?;
    if claimed.rows_affected() == 0 {
        // On SQLite another process was faster.
        return Ok(false);
    }
    let sql = match SqlDialect::of(connection) {
        SqlDialect::Postgres => step.postgres,
        SqlDialect::Sqlite => step.sqlite,
    };
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *connection)
        .await?;
    if step.least_level > 0 {
        sqlx::query("UPDATE migrations SET least_level = $1 WHERE family = $2 AND number = $3")
            .bind(i64::from(step.least_level))
            .bind(family.to_owned())
            .bind(number)
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}
