//! A database that a backup is restored into.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use super::{
    BackupError, BackupReader,
    file::{Line, Mark},
    rows::TableRows,
    tables::list_tables,
};
use crate::{
    DatabaseOptions, SqlDialect, database::sqlite::create_file, epochs, from_micros, to_micros,
};

/// How long ago a process must have been seen to have ended, in seconds.
const ENDED_AFTER: i64 = 20;
/// Actions of the audit trail that take access away, or may.
const TAKES_AWAY: &[&str] = &[
    "api_key.revoke",
    "condition.add",
    "connection.delete",
    "connection.update",
    "group.delete",
    "group.remove_user",
    "group.unprovision",
    "group.update",
    "invitation.revoke",
    "node.approve_routes",
    "node.delete",
    "node.expire",
    "node.logout",
    "node.orphaned",
    "node.shorten",
    "node.tag",
    "oauth_client.revoke",
    "passkey.delete",
    "policy.set",
    "pre_auth_key.revoke",
    "scim_token.revoke",
    "session.end",
    "tailnet.delete",
    "tailnet.update",
    "user.delete",
    "user.merge",
    "user.refuse",
    "user.transfer_ownership",
    "user.unlink",
    "user.update",
];

/// A PostgreSQL database, or a SQLite file, that schemas are restored into: all of them or none.
#[derive(Debug)]
pub struct RestoreTarget {
    connection: AnyConnection,
}

/// Something in the audit trail that a restore undoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoneEntry {
    /// The tailnet.
    pub tailnet: i64,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
}

impl RestoreTarget {
    /// Opens `sqlite://PATH` or `postgres://…`.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn open(url: &str) -> Result<Self, BackupError> {
        sqlx::any::install_default_drivers();
        if let Some(path) = url.strip_prefix("sqlite://") {
            create_file(path)?;
        }
        let mut connection = AnyConnection::connect(url).await?;
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        Ok(Self { connection })
    }

    /// Makes a schema from the database that a backup goes on with. Tells the table, and how many rows it had, after each.
    ///
    /// # Errors
    ///
    /// When the schema is in use, or not empty and not to be replaced; when the backup is damaged or of a newer release; when the
    /// database does not answer. Then nothing is changed.
    pub async fn restore_schema(
        &mut self,
        backup: &mut BackupReader,
        options: &DatabaseOptions,
        is_replaced: bool,
        tell: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), BackupError> {
        let on = &mut self.connection;
        clear_schema(on, options.schema, is_replaced).await?;
        let mut rows = TableRows::default();
        loop {
            match backup.next_line()? {
                Line::Row(values) => rows.push(on, values).await?,
                Line::Mark(Mark::Table { name, columns }) if rows.name.is_empty() => {
                    if name != "migrations" {
                        return Err(BackupError::Damaged(
                            "a database does not begin with its migrations",
                        ));
                    }
                    rows.begin(name, columns);
                }
                Line::Mark(Mark::Table { name, columns }) => {
                    rows.finish_table(on, options, &backup.header.release, tell)
                        .await?;
                    rows.begin(name, columns);
                }
                line @ Line::Mark(_) => {
                    backup.put_back(line);
                    rows.finish_table(on, options, &backup.header.release, tell)
                        .await?;
                    epochs::mark_restored(on, to_micros(backup.header.taken_at)).await?;
                    return Ok(());
                }
            }
        }
    }

    /// Commits all that was restored.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn commit(mut self) -> Result<(), BackupError> {
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.connection)
            .await?;
        self.connection.close().await?;
        Ok(())
    }

    /// Leaves all as it was.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn abandon(mut self) -> Result<(), BackupError> {
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut self.connection)
            .await?;
        self.connection.close().await?;
        Ok(())
    }

    /// Lists what a schema that is there says was done after a moment to take access away: what a restore of a backup of that
    /// moment undoes. The newest 1,000.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn list_undone(
        &mut self,
        options: &DatabaseOptions,
        since: DateTime<Utc>,
    ) -> Result<Vec<UndoneEntry>, BackupError> {
        let on = &mut self.connection;
        if !select_schema(on, options.schema).await?
            || !has_table(on, options.schema, "audit").await?
        {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT tailnet_id, happened_at, actor, action, object FROM audit
             WHERE happened_at > $1 AND action IN ('{}') ORDER BY happened_at DESC LIMIT 1000",
            TAKES_AWAY.join("', '")
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(to_micros(since));
        let rows = query.fetch_all(on).await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(UndoneEntry {
                tailnet: row.try_get(0)?,
                time: from_micros(row.try_get(1)?).unwrap_or_default(),
                actor: row.try_get(2)?,
                action: row.try_get(3)?,
                object: row.try_get(4)?,
            })
        };
        rows.iter().map(read).collect()
    }
}

/// Makes a schema empty, if it is not and may be.
async fn clear_schema(
    on: &mut AnyConnection,
    schema: &str,
    is_replaced: bool,
) -> Result<(), BackupError> {
    let is_there = select_schema(on, schema).await?;
    if !is_there {
        let sql = format!("CREATE SCHEMA {schema}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *on).await?;
        select_schema(on, schema).await?;
        return Ok(());
    }
    let tables = list_tables(on, schema).await?;
    let names: BTreeSet<_> = tables.iter().map(|(name, _)| &**name).collect();
    if names.contains("processes") {
        check_unused(on).await?;
    }
    if names.contains("heads") && !is_replaced {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM heads")
            .fetch_one(&mut *on)
            .await?;
        if count > 0 {
            return Err(BackupError::NotEmpty {
                schema: schema.to_owned(),
            });
        }
    }
    for name in names {
        let sql = format!("DROP TABLE {name}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *on).await?;
    }
    if SqlDialect::of(on) == SqlDialect::Postgres {
        sqlx::raw_sql("DROP SEQUENCE IF EXISTS ids")
            .execute(on)
            .await?;
    }
    Ok(())
}

/// Makes a schema the one that statements mean; says whether it is there.
async fn select_schema(on: &mut AnyConnection, schema: &str) -> Result<bool, BackupError> {
    if SqlDialect::of(on) == SqlDialect::Sqlite {
        return Ok(true);
    }
    let sql = format!("SET LOCAL search_path TO {schema}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *on).await?;
    let query = sqlx::query("SELECT 1 FROM information_schema.schemata WHERE schema_name = $1");
    Ok(query
        .bind(schema.to_owned())
        .fetch_optional(on)
        .await?
        .is_some())
}

async fn has_table(on: &mut AnyConnection, schema: &str, table: &str) -> Result<bool, BackupError> {
    let tables = list_tables(on, schema).await?;
    Ok(tables.iter().any(|(name, _)| name == table))
}

/// Refuses a database that a process has used lately.
async fn check_unused(on: &mut AnyConnection) -> Result<(), BackupError> {
    // A SQLite file is held by a lock of its own.
    if SqlDialect::of(on) == SqlDialect::Sqlite {
        return Ok(());
    }
    let query = sqlx::query(
        "SELECT service, CAST(EXTRACT(EPOCH FROM clock_timestamp()) - seen_at / 1000000 AS BIGINT) FROM processes
         ORDER BY seen_at DESC LIMIT 1",
    );
    let Some(row) = query.fetch_optional(on).await? else {
        return Ok(());
    };
    let (service, seconds): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    match seconds < ENDED_AFTER {
        true => Err(BackupError::InUse { service, seconds }),
        false => Ok(()),
    }
}
