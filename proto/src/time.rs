//! Times as messages carry them.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// Returns the time of a message field; `None` for one that is not in the calendar.
#[must_use]
pub fn from_timestamp(timestamp: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}

/// Returns a time as a message field.
#[must_use]
pub fn to_timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().cast_signed(),
    }
}

#[cfg(test)]
mod tests;
