//! Which entries a caller is shown.
//!
//! ```text
//! places 1 … head ─▶ those between the places and times asked for ─▶ the first 20,000 of them are read ─▶ those that fit
//! ```
//!
//! Everything is found by the primary key (tailnet, place): a request costs no more than the part it reads, however long the
//! trail is and however few entries fit.

use std::ops::RangeInclusive;

use bowline_proto::audit::v1::{ListAuditRequest, ListAuditResponse};
use prost_types::Timestamp;
use sqlx::AnyConnection;

use super::{AuditEntry, entry_from_row};
use crate::DatabaseError;

/// The query of entries that fit. The beginning of an actor ends at "/", that of an action at ".".
macro_rules! fitting {
    () => {
        "SELECT sequence, happened_at, actor, action, object, detail, hash FROM audit
         WHERE tailnet_id = $1 AND sequence BETWEEN $2 AND $3 AND happened_at >= $4 AND happened_at < $5
             AND ($6 = '' OR actor = $6 OR SUBSTR(actor, 1, LENGTH($6) + 1) = $6 || '/')
             AND ($7 = '' OR action = $7 OR SUBSTR(action, 1, LENGTH($7) + 1) = $7 || '.')
             AND ($8 = '' OR object = $8)"
    };
}

/// The most rows in one answer.
const LONGEST_PAGE: u32 = 1000;
/// How many rows are read at once, and the bytes after which an answer is full: a few entries may be as long as a thousand.
const READ_AT_ONCE: i64 = 50;
const LONGEST_ANSWER: usize = 4 << 20;
/// How many places one request looks at.
const MOST_PLACES: i64 = 20_000;

/// Returns the rows that a caller asks for; `head` is the place of the newest.
pub(crate) async fn list_entries(
    connection: &mut AnyConnection,
    tailnet: i64,
    head: u64,
    request: &ListAuditRequest,
) -> Result<ListAuditResponse, DatabaseError> {
    let wanted = wanted_places(connection, tailnet, head, request).await?;
    let part = first_part(&wanted, request.oldest_first);
    let limit = match request.limit {
        0 => LONGEST_PAGE,
        limit => limit.min(LONGEST_PAGE),
    };
    let (entries, is_full) =
        read_fitting(connection, tailnet, part.clone(), request, limit).await?;
    let last = entries.last().map(|entry| entry.sequence.cast_signed());
    let (seen_to, has_more) = match (request.oldest_first, last.filter(|_| is_full)) {
        (true, Some(last)) => (last, last < *wanted.end()),
        (true, None) => (*part.end(), part.end() < wanted.end()),
        (false, Some(last)) => (last, last > *wanted.start()),
        (false, None) => (*part.start(), part.start() > wanted.start()),
    };
    Ok(ListAuditResponse {
        entries: entries.into_iter().map(Into::into).collect(),
        next_sequence: seen_to.max(0).cast_unsigned(),
        has_more,
    })
}

/// Returns the places that a request is about. An empty range begins where the next entry will be.
async fn wanted_places(
    connection: &mut AnyConnection,
    tailnet: i64,
    head: u64,
    request: &ListAuditRequest,
) -> Result<RangeInclusive<i64>, DatabaseError> {
    let head = head.cast_signed();
    let after = i64::try_from(request.after_sequence).unwrap_or(i64::MAX - 1);
    let (mut from, mut to) = (after + 1, head);
    if let (1.., Ok(before)) = (
        request.before_sequence,
        i64::try_from(request.before_sequence),
    ) {
        to = to.min(before - 1);
    }
    if let Some(since) = &request.since_time {
        from = first_place_at(connection, tailnet, from..=to, micros(since)).await?;
    }
    if let Some(until) = &request.before_time {
        to = first_place_at(connection, tailnet, from..=to, micros(until)).await? - 1;
    }
    Ok(from..=to.max(from - 1))
}

/// Returns the part of the places that is looked at first.
fn first_part(wanted: &RangeInclusive<i64>, oldest_first: bool) -> RangeInclusive<i64> {
    let (from, to) = (*wanted.start(), *wanted.end());
    match oldest_first {
        true => from..=to.min(from.saturating_add(MOST_PLACES - 1)),
        false => from.max(to.saturating_sub(MOST_PLACES - 1))..=to,
    }
}

fn micros(time: &Timestamp) -> i64 {
    let micros = i64::from(time.nanos / 1000);
    time.seconds
        .saturating_mul(1_000_000)
        .saturating_add(micros)
}

/// Returns the first of the places whose entry happened at a time or later, the one behind them if none did. It halves the
/// places: times grow with them, because one clock gives them under the lock of the tailnet.
async fn first_place_at(
    connection: &mut AnyConnection,
    tailnet: i64,
    places: RangeInclusive<i64>,
    time: i64,
) -> Result<i64, DatabaseError> {
    let (mut low, mut high) = (*places.start(), places.end() + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT happened_at FROM audit WHERE tailnet_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT 1",
        )
        .bind(tailnet)
        .bind(middle)
        .fetch_optional(&mut *connection)
        .await?;
        match found {
            Some(found) if found < time => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Reads entries that fit, up to a number or until they are as long as an answer may be; says whether one of both is reached.
async fn read_fitting(
    connection: &mut AnyConnection,
    tailnet: i64,
    mut places: RangeInclusive<i64>,
    request: &ListAuditRequest,
    limit: u32,
) -> Result<(Vec<AuditEntry>, bool), DatabaseError> {
    let (mut found, mut length) = (Vec::new(), 0);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    while !places.is_empty() && found.len() < limit {
        let left = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
        let wanted = left.min(READ_AT_ONCE);
        let read = read_some(connection, tailnet, &places, request, wanted).await?;
        let is_last = i64::try_from(read.len()).unwrap_or(i64::MAX) < wanted;
        for entry in read {
            let place = entry.sequence.cast_signed();
            places = match request.oldest_first {
                true => place + 1..=*places.end(),
                false => *places.start()..=place - 1,
            };
            length += entry.detail.len();
            found.push(entry);
            if length >= LONGEST_ANSWER {
                return Ok((found, true));
            }
        }
        if is_last {
            return Ok((found, false));
        }
    }
    let is_full = found.len() >= limit;
    Ok((found, is_full))
}

async fn read_some(
    connection: &mut AnyConnection,
    tailnet: i64,
    places: &RangeInclusive<i64>,
    request: &ListAuditRequest,
    limit: i64,
) -> Result<Vec<AuditEntry>, DatabaseError> {
    let since = request.since_time.as_ref().map_or(i64::MIN, micros);
    let until = request.before_time.as_ref().map_or(i64::MAX, micros);
    let sql = match request.oldest_first {
        true => concat!(fitting!(), " ORDER BY sequence LIMIT $9"),
        false => concat!(fitting!(), " ORDER BY sequence DESC LIMIT $9"),
    };
    sqlx::query(sql)
        .bind(tailnet)
        .bind(*places.start())
        .bind(*places.end())
        .bind(since)
        .bind(until)
        .bind(request.actor.clone())
        .bind(request.action.clone())
        .bind(request.object.clone())
        .bind(limit)
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| entry_from_row(tailnet, row))
        .collect()
}
