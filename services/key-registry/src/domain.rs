//! What may be: rules without IO, clock or database.

pub mod address_pool;
pub mod difference;
pub mod fleet;
pub mod hostname;
pub mod key;
pub mod node_limits;
pub mod pace;
pub mod pre_auth_key;
pub mod retagging;
pub mod routes;
pub mod self_report;
pub mod standing;
pub mod tags;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// Returns the time of a message field; `None` for one beyond the calendar.
pub fn time(timestamp: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}

/// Returns a time as a message field.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().cast_signed(),
    }
}
