//! Leases of gateways, and how far each has applied the logs.

use std::collections::BTreeMap;

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::key_registry::v1::ReportedControlKeys;
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row as _, any::AnyRow};

use crate::domain::fleet::{AppliedRevision, Incarnation};

/// A log that gateways apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerLog {
    /// The registry's own.
    Registry,
    /// Identity's.
    Identity,
}

impl OwnerLog {
    const fn column_name(self) -> &'static str {
        match self {
            Self::Registry => "revision",
            Self::Identity => "identity_revision",
        }
    }
}

/// A gateway, and how far it has applied the log and tailnet asked for.
#[derive(Clone, Debug)]
pub struct GatewayRow {
    /// The gateway.
    pub incarnation: Incarnation,
    /// How far.
    pub applied: AppliedRevision,
}

/// How far a gateway has applied the logs of one tailnet.
#[derive(Clone, Copy, Debug)]
pub struct ProgressRow {
    /// The tailnet.
    pub tailnet_id: u64,
    /// Of the registry's log; nothing when it says nothing of it.
    pub revision: Option<u64>,
    /// Of identity's log; nothing when it says nothing of it.
    pub identity_revision: Option<u64>,
}

/// Adds a gateway with a lease that ends now, unless it is there already.
pub async fn add_gateway(
    on: &mut AnyConnection,
    gateway: &str,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO gateways (gateway, expires_at, known_at, is_telling) VALUES ($1, $2, $2, 1)
         ON CONFLICT DO NOTHING",
    )
    .bind(gateway.to_owned())
    .bind(to_micros(now))
    .execute(on)
    .await?;
    Ok(())
}

/// A renewal of a lease.
#[derive(Clone, Debug)]
pub struct LeaseRenewal {
    /// The gateway.
    pub gateway: String,
    /// Where it listens.
    pub slot: String,
    /// How long its clients may hold on to it without a lease.
    pub staleness: TimeDelta,
    /// Which control keys it has; nothing when it does not say.
    pub control_keys: Option<ReportedControlKeys>,
    /// Now.
    pub now: DateTime<Utc>,
    /// When the lease ends.
    pub expires_at: DateTime<Utc>,
}

/// Renews a lease; says whether it was over.
pub async fn renew_lease(
    on: &mut AnyConnection,
    renewal: &LeaseRenewal,
) -> Result<bool, DatabaseError> {
    let before = lease_end(&mut *on, &renewal.gateway).await?;
    let lapsed = before.is_none_or(|end| end < to_micros(renewal.now));
    sqlx::query(
        "INSERT INTO gateways
             (gateway, expires_at, slot, staleness, known_at, is_telling, control_keys)
         VALUES ($1, $2, $3, $4, $5, 1, $6)
         ON CONFLICT (gateway) DO UPDATE SET expires_at = excluded.expires_at, has_left = 0,
             slot = excluded.slot, staleness = excluded.staleness,
             control_keys = excluded.control_keys,
             is_telling = CASE WHEN gateways.expires_at < $5 THEN 1 ELSE gateways.is_telling END",
    )
    .bind(renewal.gateway.clone())
    .bind(to_micros(renewal.expires_at))
    .bind(renewal.slot.clone())
    .bind(renewal.staleness.num_microseconds().unwrap_or(i64::MAX))
    .bind(to_micros(renewal.now))
    .bind(renewal.control_keys.as_ref().map(Message::encode_to_vec))
    .execute(on)
    .await?;
    Ok(lapsed)
}

/// Returns which control keys each gateway has that says it.
pub async fn list_control_keys<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<BTreeMap<String, ReportedControlKeys>, DatabaseError> {
    let query = "SELECT gateway, control_keys FROM gateways WHERE control_keys IS NOT NULL";
    let rows = sqlx::query(query).fetch_all(on).await?;
    let read = |row: &AnyRow| {
        let gateway: String = row.try_get("gateway")?;
        let encoded: Vec<u8> = row.try_get("control_keys")?;
        let decoded = ReportedControlKeys::decode(&*encoded);
        let keys = decoded.map_err(|_| DatabaseError::Inconsistent {
            table: "gateways",
            row: format!("the control keys of {gateway} can not be read"),
        })?;
        Ok((gateway, keys))
    };
    rows.iter().map(read).collect()
}

/// Ends a lease for good.
pub async fn end_lease(
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
pub async fn lease_end(
    on: &mut AnyConnection,
    gateway: &str,
) -> Result<Option<i64>, DatabaseError> {
    let query = sqlx::query_scalar("SELECT expires_at FROM gateways WHERE gateway = $1");
    Ok(query.bind(gateway.to_owned()).fetch_optional(on).await?)
}

/// Records how far a gateway has applied the logs of some tailnets, in one statement.
pub async fn record_progress(
    on: &mut AnyConnection,
    gateway: &str,
    progress: &[ProgressRow],
) -> Result<(), DatabaseError> {
    if progress.is_empty() {
        return Ok(());
    }
    // The values are numbers, so that they can stand in the statement's text; it is not kept prepared.
    let number = |revision: Option<u64>| revision.unwrap_or(0).cast_signed();
    let rows: Vec<_> = progress
        .iter()
        .map(|one| {
            let (revision, identity) = (number(one.revision), number(one.identity_revision));
            let tailnet = one.tailnet_id.cast_signed();
            format!("($1, {tailnet}, {revision}, {identity})")
        })
        .collect();
    let column = |name: &str, is_reported: bool| {
        let kept = if is_reported {
            "excluded"
        } else {
            "gateway_progress"
        };
        format!("{name} = {kept}.{name}")
    };
    let first = &progress[0];
    let sql = format!(
        "INSERT INTO gateway_progress (gateway, tailnet_id, revision, identity_revision) VALUES {}
         ON CONFLICT (gateway, tailnet_id) DO UPDATE SET {}, {}",
        rows.join(", "),
        column("revision", first.revision.is_some()),
        column("identity_revision", first.identity_revision.is_some()),
    );
    sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .bind(gateway.to_owned())
        .execute(on)
        .await?;
    Ok(())
}

/// Records that a gateway has reported its progress in all the tailnets that it serves.
pub async fn mark_complete(on: &mut AnyConnection, gateway: &str) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE gateways SET is_telling = 0 WHERE gateway = $1 AND is_telling = 1")
        .bind(gateway.to_owned())
        .execute(on)
        .await?;
    Ok(())
}

/// Forgets how far a gateway had come in tailnets that it serves no longer.
pub async fn drop_progress(
    on: &mut AnyConnection,
    gateway: &str,
    tailnets: &[u64],
) -> Result<(), DatabaseError> {
    if tailnets.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = tailnets
        .iter()
        .map(|tailnet| tailnet.cast_signed().to_string())
        .collect();
    let sql = format!(
        "DELETE FROM gateway_progress WHERE gateway = $1 AND tailnet_id IN ({})",
        ids.join(", ")
    );
    sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .bind(gateway.to_owned())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the gateways that are not known to be gone, with what each has applied of a tailnet's log.
pub async fn list_serving<'e>(
    on: impl Executor<'e, Database = Any>,
    log: OwnerLog,
    tailnet_id: u64,
) -> Result<Vec<GatewayRow>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT gateways.gateway, gateways.expires_at, has_left, slot, known_at, staleness, is_telling,
             gateway_progress.revision, gateway_progress.identity_revision FROM gateways
         LEFT JOIN gateway_progress ON gateway_progress.gateway = gateways.gateway
             AND gateway_progress.tailnet_id = $1
         WHERE gateways.has_left = 0 ORDER BY gateways.gateway",
    )
    .bind(tailnet_id.cast_signed())
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| {
            let revision = row.try_get::<Option<i64>, _>(log.column_name())?;
            let applied = match revision {
                Some(revision) => AppliedRevision::Through(revision.cast_unsigned()),
                None if row.try_get::<i64, _>("is_telling")? == 0 => AppliedRevision::NotServed,
                None => AppliedRevision::NotReported,
            };
            Ok(GatewayRow {
                incarnation: read_incarnation(row, false)?,
                applied,
            })
        })
        .collect()
}

/// Returns all gateways that are remembered.
pub async fn list_gateways<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<Vec<Incarnation>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT gateway, expires_at, has_left, slot, known_at, staleness,
             CAST(CASE WHEN EXISTS (SELECT 1 FROM soft_states
                 WHERE soft_states.gateway = gateways.gateway AND soft_states.online = 1)
                 THEN 1 ELSE 0 END AS BIGINT) AS holds_nodes
         FROM gateways",
    )
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| read_incarnation(row, row.try_get::<i64, _>("holds_nodes")? == 1))
        .collect()
}

fn read_incarnation(row: &AnyRow, holds_nodes: bool) -> Result<Incarnation, DatabaseError> {
    let time = |name: &str| {
        let micros = row.try_get::<i64, _>(name)?;
        from_micros(micros).ok_or(DatabaseError::Inconsistent {
            table: "gateways",
            row: "its times are beyond the calendar".to_owned(),
        })
    };
    Ok(Incarnation {
        gateway: row.try_get("gateway")?,
        slot: row.try_get("slot")?,
        known_at: time("known_at")?,
        lease_end: time("expires_at")?,
        staleness: TimeDelta::microseconds(row.try_get("staleness")?),
        has_left: row.try_get::<i64, _>("has_left")? == 1,
        holds_nodes,
    })
}

/// Marks gateways as gone, and deletes those that are gone and have no node online.
pub async fn forget_gone(
    on: &mut AnyConnection,
    gone: &[Incarnation],
) -> Result<(), DatabaseError> {
    for one in gone {
        // One that has renewed its lease meanwhile is not gone.
        sqlx::query("UPDATE gateways SET has_left = 1 WHERE gateway = $1 AND expires_at = $2")
            .bind(one.gateway.clone())
            .bind(to_micros(one.lease_end))
            .execute(&mut *on)
            .await?;
    }
    sqlx::query(
        "DELETE FROM gateways WHERE has_left = 1 AND NOT EXISTS
             (SELECT 1 FROM soft_states WHERE soft_states.gateway = gateways.gateway AND online = 1)",
    )
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
