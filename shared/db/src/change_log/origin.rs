//! Which request an entry comes from: a field beside the change in the encoded entry, where traces are exported.

use bowline_ids::TailnetId;
use bowline_proto::changes::v1::EntryTrace;
use bowline_service_kit::TraceParent;
use prost::Message as _;

use crate::Database;

/// Adds the span that commits an entry. Encoded messages that follow each other are one message with the fields of both.
pub(super) fn add_trace(entry: &mut Vec<u8>, trace: TraceParent) {
    let trace = EntryTrace {
        traceparent: Some(trace.to_string()),
    };
    entry.extend(trace.encode_to_vec());
}

/// Returns the span that committed the newest entry of a tailnet; `None` also when the database does not answer, because
/// nothing but a trace depends on it.
pub(super) async fn find_newest(database: &Database, tailnet: TailnetId) -> Option<TraceParent> {
    let entry: Vec<u8> = sqlx::query_scalar(
        "SELECT entry FROM change_log WHERE tailnet_id = $1 ORDER BY revision DESC LIMIT 1",
    )
    .bind(i64::from(tailnet))
    .fetch_optional(database.reader())
    .await
    .ok()??;
    let trace = EntryTrace::decode(&*entry).ok()?;
    TraceParent::parse(trace.traceparent.as_deref()?)
}

#[cfg(test)]
mod tests;
