//! Opening a schema of a PostgreSQL database.

use std::{sync::Arc, time::Duration};

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor};
use tokio::time::timeout;

use super::{DatabaseOptions, OpenedPools};
use crate::{
    DatabaseError, DatabaseOpenError,
    epochs::{EpochCause, EpochKeeper},
    migration,
};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Lets the server end the session of a client that has vanished in the middle: it holds locks that others wait for.
pub(crate) const VANISHED_CLIENT: &str = "SET idle_in_transaction_session_timeout = '30s'; SET tcp_keepalives_idle = 10; \
     SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

pub(super) async fn open(
    url: &str,
    options: &DatabaseOptions,
    epochs: &Arc<EpochKeeper>,
) -> Result<OpenedPools, DatabaseOpenError> {
    let schema = options.schema;
    let mut connection = timeout(CONNECT_TIMEOUT, AnyConnection::connect(url))
        .await
        .map_err(|_| DatabaseError::unavailable("no connection in time"))?
        .map_err(DatabaseError::from)?;
    prepare_schema(&mut connection, schema).await?;
    let level = migration::migrate(&mut connection, schema, options).await?;
    epochs.begin_on(&mut connection, EpochCause::Moved).await?;
    // Closing ends the session and with it the advisory lock.
    connection.close().await.map_err(DatabaseError::from)?;
    Ok(OpenedPools {
        writer: open_pool(url, options, epochs).await?,
        reader: open_pool(url, options, epochs).await?,
        level,
    })
}

/// Keeps other replicas from migrating, makes the schema, and looks into it.
async fn prepare_schema(connection: &mut AnyConnection, schema: &str) -> Result<(), DatabaseError> {
    sqlx::raw_sql(VANISHED_CLIENT)
        .execute(&mut *connection)
        .await?;
    sqlx::query("SELECT CAST(pg_advisory_lock(hashtextextended($1, 0)) AS TEXT)")
        .bind(format!("bowline migrations of {schema}"))
        .execute(&mut *connection)
        .await?;
    // Asking first: an account may use its schema without the right to make schemas.
    let exists: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = $1",
    )
    .bind(schema.to_owned())
    .fetch_one(&mut *connection)
    .await?;
    if exists == 0 {
        connection
            .execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
            .await?;
    }
    connection
        .execute(AssertSqlSafe(format!("SET search_path TO {schema}")))
        .await?;
    Ok(())
}

async fn open_pool(
    url: &str,
    options: &DatabaseOptions,
    epochs: &Arc<EpochKeeper>,
) -> Result<AnyPool, DatabaseError> {
    let schema = options.schema;
    let epochs = Arc::clone(epochs);
    let setup = format!(
        "SET search_path TO {schema}; SET statement_timeout = '10s'; SET lock_timeout = '5s'; {VANISHED_CLIENT}"
    );
    let pool = AnyPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(move |connection, _| {
            let setup = AssertSqlSafe(setup.clone());
            let epochs = Arc::clone(&epochs);
            Box::pin(async move {
                sqlx::raw_sql(setup).execute(&mut *connection).await?;
                let checked = epochs.check_connection(connection).await;
                checked.map_err(|error| sqlx::Error::Protocol(error.to_string()))
            })
        })
        .connect(url)
        .await?;
    Ok(pool)
}
