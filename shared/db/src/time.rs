//! Times in a `BIGINT` column: microseconds since 1970, in UTC.

use chrono::{DateTime, Utc};

/// Returns the column value of a time; finer fractions are cut off.
#[must_use]
pub fn to_micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// Returns the time of a column value, `None` for one beyond the calendar.
#[must_use]
pub fn from_micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}
