//! Leases of gateways, and how far each has applied the log.

use bowline_db::{DatabaseError, to_micros};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _};

/// A gateway incarnation as the registry knows it.
#[derive(Clone, Debug)]
pub struct GatewayRow {
    /// The incarnation.
    pub gateway: String,
    /// When its lease ends, microseconds.
    pub expires_at: i64,
    /// What it has applied of the tailnet asked for; `None` when it does not serve it.
    pub revision: Option<u64>,
}

/// Renews a lease.
pub async fn renew(
    on: &mut AnyConnection,
    gateway: &str,
    expires_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO gateways (gateway, expires_at) VALUES ($1, $2)
         ON CONFLICT (gateway) DO UPDATE SET expires_at = excluded.expires_at",
    )
    .bind(gateway.to_owned())
    .bind(to_micros(expires_at))
    .execute(on)
    .await?;
    Ok(())
}

/// Records how far a gateway has applied a tailnet's log.
pub async fn progress(
    on: &mut AnyConnection,
    gateway: &str,
    tailnet_id: u64,
    revision: u64,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO gateway_progress (gateway, tailnet_id, revision) VALUES ($1, $2, $3)
         ON CONFLICT (gateway, tailnet_id) DO UPDATE SET revision = excluded.revision",
    )
    .bind(gateway.to_owned())
    .bind(tailnet_id.cast_signed())
    .bind(revision.cast_signed())
    .execute(on)
    .await?;
    Ok(())
}

/// Returns the gateways, with what each has applied of a tailnet.
pub async fn serving<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<GatewayRow>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT gateways.gateway, gateways.expires_at, gateway_progress.revision FROM gateways
         LEFT JOIN gateway_progress ON gateway_progress.gateway = gateways.gateway
             AND gateway_progress.tailnet_id = $1
         ORDER BY gateways.gateway",
    )
    .bind(tailnet_id.cast_signed())
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(GatewayRow {
                gateway: row.try_get(0)?,
                expires_at: row.try_get(1)?,
                revision: row.try_get::<Option<i64>, _>(2)?.map(i64::cast_unsigned),
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

/// Forgets a gateway.
pub async fn forget(on: &mut AnyConnection, gateway: &str) -> Result<(), DatabaseError> {
    for sql in [
        "DELETE FROM gateways WHERE gateway = $1",
        "DELETE FROM gateway_progress WHERE gateway = $1",
    ] {
        sqlx::query(sql)
            .bind(gateway.to_owned())
            .execute(&mut *on)
            .await?;
    }
    Ok(())
}
