//! Leases of gateways, and how far each has applied the logs.

use bowline_db::{DatabaseError, to_micros};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _};

/// A log that gateways apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// The registry's own.
    Registry,
    /// Identity's.
    Identity,
}

impl Log {
    const fn column(self) -> &'static str {
        match self {
            Self::Registry => "revision",
            Self::Identity => "identity_revision",
        }
    }
}

/// A gateway incarnation as the registry knows it.
#[derive(Clone, Debug)]
pub struct GatewayRow {
    /// The incarnation.
    pub gateway: String,
    /// When its lease ends, microseconds.
    pub expires_at: i64,
    /// What it has applied of the log and tailnet asked for; `None` when it does not serve the tailnet.
    pub revision: Option<u64>,
}

/// Makes a gateway known, as one whose lease ends then; one that is known stays as it is.
pub async fn know(
    on: &mut AnyConnection,
    gateway: &str,
    expires_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO gateways (gateway, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(gateway.to_owned())
    .bind(to_micros(expires_at))
    .execute(on)
    .await?;
    Ok(())
}

/// Renews a lease.
pub async fn renew(
    on: &mut AnyConnection,
    gateway: &str,
    expires_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO gateways (gateway, expires_at) VALUES ($1, $2)
         ON CONFLICT (gateway) DO UPDATE SET expires_at = excluded.expires_at, has_left = 0",
    )
    .bind(gateway.to_owned())
    .bind(to_micros(expires_at))
    .execute(on)
    .await?;
    Ok(())
}

/// Ends a lease for good.
pub async fn leave(
    on: &mut AnyConnection,
    gateway: &str,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("UPDATE gateways SET expires_at = $2, has_left = 1 WHERE gateway = $1");
    let query = query.bind(gateway.to_owned()).bind(to_micros(now));
    query.execute(on).await?;
    Ok(())
}

/// Returns when a gateway's lease ends or ended, microseconds; `None` for one that is not known.
pub async fn lease(on: &mut AnyConnection, gateway: &str) -> Result<Option<i64>, DatabaseError> {
    let query = sqlx::query_scalar("SELECT expires_at FROM gateways WHERE gateway = $1");
    Ok(query.bind(gateway.to_owned()).fetch_optional(on).await?)
}

/// Records how far a gateway has applied a tailnet's log.
pub async fn progress(
    on: &mut AnyConnection,
    gateway: &str,
    log: Log,
    tailnet_id: u64,
    revision: u64,
) -> Result<(), DatabaseError> {
    // One for each log: a query's text is fixed.
    let sql = match log {
        Log::Registry => {
            "INSERT INTO gateway_progress (gateway, tailnet_id, revision) VALUES ($1, $2, $3)
             ON CONFLICT (gateway, tailnet_id) DO UPDATE SET revision = excluded.revision"
        }
        Log::Identity => {
            "INSERT INTO gateway_progress (gateway, tailnet_id, revision, identity_revision)
             VALUES ($1, $2, 0, $3) ON CONFLICT (gateway, tailnet_id)
             DO UPDATE SET identity_revision = excluded.identity_revision"
        }
    };
    sqlx::query(sql)
        .bind(gateway.to_owned())
        .bind(tailnet_id.cast_signed())
        .bind(revision.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Forgets how far a gateway had come in a tailnet that it serves no longer.
pub async fn drop_progress(
    on: &mut AnyConnection,
    gateway: &str,
    tailnet_id: u64,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM gateway_progress WHERE gateway = $1 AND tailnet_id = $2")
        .bind(gateway.to_owned())
        .bind(tailnet_id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the gateways that have not left, with what each has applied of a tailnet's log.
pub async fn serving<'e>(
    on: impl Executor<'e, Database = Any>,
    log: Log,
    tailnet_id: u64,
) -> Result<Vec<GatewayRow>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT gateways.gateway, gateways.expires_at, gateway_progress.revision,
             gateway_progress.identity_revision FROM gateways
         LEFT JOIN gateway_progress ON gateway_progress.gateway = gateways.gateway
             AND gateway_progress.tailnet_id = $1
         WHERE gateways.has_left = 0 ORDER BY gateways.gateway",
    )
    .bind(tailnet_id.cast_signed())
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| {
            let revision = row.try_get::<Option<i64>, _>(log.column())?;
            Ok(GatewayRow {
                gateway: row.try_get(0)?,
                expires_at: row.try_get(1)?,
                revision: revision.map(i64::cast_unsigned),
            })
        })
        .collect()
}

/// Returns the gateways whose lease ended before a time.
pub async fn ended<'e>(
    on: impl Executor<'e, Database = Any>,
    before: DateTime<Utc>,
) -> Result<Vec<String>, DatabaseError> {
    let query = sqlx::query_scalar("SELECT gateway FROM gateways WHERE expires_at < $1");
    Ok(query.bind(to_micros(before)).fetch_all(on).await?)
}

/// Forgets the gateways that have left, or whose lease ended before a time, once no node counts as online there.
pub async fn forget(on: &mut AnyConnection, before: DateTime<Utc>) -> Result<(), DatabaseError> {
    sqlx::query(
        "DELETE FROM gateways WHERE (has_left = 1 OR expires_at < $1) AND NOT EXISTS
             (SELECT 1 FROM soft_states WHERE soft_states.gateway = gateways.gateway AND online = 1)",
    )
    .bind(to_micros(before))
    .execute(&mut *on)
    .await?;
    sqlx::query(
        "DELETE FROM gateway_progress WHERE NOT EXISTS
             (SELECT 1 FROM gateways WHERE gateways.gateway = gateway_progress.gateway)",
    )
    .execute(on)
    .await?;
    Ok(())
}
