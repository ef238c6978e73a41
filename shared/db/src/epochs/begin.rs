//! The transaction that begins an epoch.

use bowline_ids::TailnetId;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _, any::AnyRow};

use super::{EpochCause, KnownEpoch, RESTORED, read_epoch, read_lineage};
use crate::{
    DatabaseError, DatabaseOptions, SqlDialect,
    audit::{self, AuditHead, PendingAudit},
    database::read_time,
    from_micros,
    statements::MOST_ROWS,
    to_micros,
};

/// More than one tailnet's log, or the identifiers of a schema, grow by in a second for long.
const NUMBERS_PER_SECOND: i64 = 1024;
/// When bases count from: the first second of 2026, in seconds since 1970.
const FIRST_SECOND: i64 = 1_767_225_600;
/// How long after an epoch began a follower that is ahead begins no other: it has not looked again yet. It doubles
/// with each epoch of the last day.
const PAUSE: TimeDelta = TimeDelta::seconds(60);
/// Who acts in the audit trail.
const ACTOR: &str = "database";

/// Begins an epoch if there is a cause, and returns the base of the newest.
pub(super) async fn begin_epoch(
    connection: &mut AnyConnection,
    options: &DatabaseOptions,
    cause: EpochCause,
) -> Result<i64, DatabaseError> {
    let dialect = SqlDialect::of(connection);
    let lineage = read_lineage(connection).await?;
    let begin = match dialect {
        SqlDialect::Postgres => "BEGIN",
        SqlDialect::Sqlite => "BEGIN IMMEDIATE",
    };
    let mut transaction = connection.begin_with(begin).await?;
    let on = &mut *transaction;
    if dialect == SqlDialect::Postgres {
        sqlx::query("SELECT CAST(pg_advisory_xact_lock(hashtextextended($1, 0)) AS TEXT)")
            .bind(format!("bowline epochs of {}", options.schema))
            .execute(&mut *on)
            .await?;
    }
    let now = read_time(on, options.time, &options.clock).await?;
    let known = read_epoch(on).await?;
    if let Some(known) = &known {
        if known.lineage.is_empty() && lineage.is_some() {
            // The server did not tell when the epoch began.
            note_lineage(on, known.base, lineage.as_deref()).await?;
            if cause == EpochCause::Moved {
                transaction.commit().await?;
                return Ok(known.base);
            }
        }
        if !has_cause(on, cause, known, lineage.as_deref(), now).await? {
            transaction.commit().await?;
            return Ok(known.base);
        }
    }
    let base = match &known {
        // A database from before there were epochs, or a new one: nothing says that it went back.
        None => 0,
        Some(known) => find_base(on, known, now).await?,
    };
    let reason = describe(cause, known.as_ref());
    sqlx::query("INSERT INTO epochs (base, lineage, began_at, reason) VALUES ($1, $2, $3, $4)")
        .bind(base)
        .bind(lineage.unwrap_or_default())
        .bind(to_micros(now))
        .bind(reason)
        .execute(&mut *on)
        .await?;
    if base > 0 {
        move_numbers(on, options, base, now).await?;
        move_heads(on, base, now, reason).await?;
    }
    transaction.commit().await?;
    if base > 0 {
        metrics::counter!("bowline_database_epochs_total").increment(1);
        tracing::warn!(
            schema = options.schema,
            base,
            reason,
            "the database has gone back to an earlier state: what was changed after that is lost, and access that was taken \
             away may be there again; the audit log says since when"
        );
    }
    Ok(base)
}

async fn has_cause(
    on: &mut AnyConnection,
    cause: EpochCause,
    known: &KnownEpoch,
    lineage: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    if cause == EpochCause::Moved {
        return Ok(!known.is_of(lineage));
    }
    // A follower that is wrong, or lies, causes fewer and fewer.
    let query = sqlx::query_scalar("SELECT COUNT(*) FROM epochs WHERE began_at > $1 AND base > 0");
    let day = to_micros(now - TimeDelta::days(1));
    let lately: i64 = query.bind(day).fetch_one(on).await?;
    let doublings = u32::try_from(lately - 1).unwrap_or(0).min(10);
    let pause = PAUSE * 2_i32.pow(doublings);
    let since = from_micros(known.began_at).map_or(TimeDelta::MAX, |began| now - began);
    Ok(known.base == 0 || since < TimeDelta::zero() || since >= pause)
}

async fn note_lineage(
    on: &mut AnyConnection,
    base: i64,
    lineage: Option<&str>,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE epochs SET lineage = $2 WHERE base = $1")
        .bind(base)
        .bind(lineage.unwrap_or_default().to_owned())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the words for people.
fn describe(cause: EpochCause, known: Option<&KnownEpoch>) -> &'static str {
    match cause {
        EpochCause::FollowerAhead => "a follower had what is lost",
        EpochCause::Moved if known.is_some_and(|known| known.lineage == RESTORED) => {
            "a backup was restored"
        }
        EpochCause::Moved => "another server or timeline",
    }
}

/// Returns a number above all that earlier epochs gave.
async fn find_base(
    on: &mut AnyConnection,
    known: &KnownEpoch,
    now: DateTime<Utc>,
) -> Result<i64, DatabaseError> {
    let highest = sqlx::query_scalar(
        "SELECT CAST(COALESCE(MAX(CASE WHEN revision > soft_revision THEN revision ELSE soft_revision END), 0) AS BIGINT)
         FROM heads",
    );
    let highest: i64 = highest.fetch_one(on).await?;
    // Also where the clock here is behind that of the server before.
    let time = from_micros(known.began_at).map_or(now, |began| now.max(began));
    let by_time = (time.timestamp() - FIRST_SECOND) * NUMBERS_PER_SECOND;
    Ok(by_time.max(highest + 1).max(known.base + 1))
}

/// Moves identifiers above the base, and does what the service needs.
async fn move_numbers(
    on: &mut AnyConnection,
    options: &DatabaseOptions,
    base: i64,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let sql = match SqlDialect::of(on) {
        SqlDialect::Postgres => {
            format!("SELECT setval('ids', GREATEST(nextval('ids'), {base}))")
        }
        SqlDialect::Sqlite => format!("UPDATE ids SET last = MAX(last, {base})"),
    };
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *on).await?;
    for step in options.epoch_steps {
        let step = step
            .replace("{base}", &base.to_string())
            .replace("{now}", &to_micros(now).to_string());
        sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *on).await?;
    }
    Ok(())
}

/// Moves the heads of all tailnets to the base, and says so in each audit trail.
async fn move_heads(
    on: &mut AnyConnection,
    base: i64,
    now: DateTime<Utc>,
    reason: &str,
) -> Result<(), DatabaseError> {
    let lock = match SqlDialect::of(on) {
        SqlDialect::Postgres => "FOR UPDATE OF heads",
        SqlDialect::Sqlite => "",
    };
    let sql = format!(
        "SELECT heads.tailnet_id, heads.audit_sequence, heads.audit_hash, audit.happened_at FROM heads
         LEFT JOIN audit ON audit.tailnet_id = heads.tailnet_id AND audit.sequence = heads.audit_sequence
         ORDER BY heads.tailnet_id {lock}"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *on).await?;
    for rows in rows.chunks(MOST_ROWS) {
        let mut entries = Vec::with_capacity(rows.len());
        let mut heads = Vec::with_capacity(rows.len());
        for row in rows {
            let (tailnet, mut head, last) = read_head(row)?;
            let last = last.map(|last| last.to_rfc3339_opts(SecondsFormat::Secs, true));
            let pending = PendingAudit {
                actor: ACTOR.to_owned(),
                action: "epoch.begin".to_owned(),
                object: base.to_string(),
                detail: json!({ "reason": reason, "last_entry_at": last }).to_string(),
            };
            entries.push((tailnet, head.append(tailnet.into(), now, pending)));
            heads.push((tailnet, head));
        }
        audit::insert_entries(on, &entries).await?;
        write_heads(on, base, &heads).await?;
    }
    Ok(())
}

/// Returns a tailnet's place in its audit trail, and when the last entry there happened.
fn read_head(row: &AnyRow) -> Result<(TailnetId, AuditHead, Option<DateTime<Utc>>), DatabaseError> {
    let tailnet = row.try_get::<i64, _>(0)?;
    let inconsistent = || DatabaseError::Inconsistent {
        table: "heads",
        row: tailnet.to_string(),
    };
    let hash: Vec<u8> = row.try_get(2)?;
    let head = AuditHead {
        sequence: row.try_get::<i64, _>(1)?.cast_unsigned(),
        hash: hash.try_into().map_err(|_| inconsistent())?,
    };
    let last = row.try_get::<Option<i64>, _>(3)?.and_then(from_micros);
    let id = TailnetId::try_from(tailnet.cast_unsigned()).map_err(|_| inconsistent())?;
    Ok((id, head, last))
}

async fn write_heads(
    on: &mut AnyConnection,
    base: i64,
    heads: &[(TailnetId, AuditHead)],
) -> Result<(), DatabaseError> {
    let places = (0..heads.len()).map(|row| {
        let first = row * 3 + 2;
        format!("(${first}, ${}, ${})", first + 1, first + 2)
    });
    let sql = format!(
        "UPDATE heads SET revision = $1, soft_revision = $1, audit_sequence = moved.column2, audit_hash = moved.column3
         FROM (VALUES {}) AS moved WHERE heads.tailnet_id = moved.column1",
        places.collect::<Vec<_>>().join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(base);
    for (tailnet, head) in heads {
        query = query
            .bind(i64::from(*tailnet))
            .bind(head.sequence.cast_signed())
            .bind(head.hash.to_vec());
    }
    query.execute(on).await?;
    Ok(())
}

/// Says whether a number may have been given before a time: what is above it nobody has from here.
pub(crate) fn may_have_been_given(number: u64, now: DateTime<Utc>) -> bool {
    let by_time = (now.timestamp() - FIRST_SECOND) * NUMBERS_PER_SECOND;
    i64::try_from(number).is_ok_and(|number| number <= by_time)
}
