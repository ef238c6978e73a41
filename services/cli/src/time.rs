//! Times and durations as people and programs write them.

use bowline_proto::time::from_timestamp;
use chrono::{SecondsFormat, TimeDelta};
use prost_types::Timestamp;

/// Returns a time in RFC 3339; `None` for an absent one.
pub fn time_text(timestamp: Option<Timestamp>) -> Option<String> {
    let time = from_timestamp(timestamp?)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Returns a duration as servers read it.
pub fn whole_seconds(duration: TimeDelta) -> prost_types::Duration {
    prost_types::Duration {
        seconds: duration.num_seconds(),
        nanos: 0,
    }
}

/// The longest duration anything takes: 100 years, in seconds.
const LONGEST: i64 = 100 * 365 * 86_400;

/// Reads a duration such as `90m`, `24h` or `30d`, of at most 100 years.
pub fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("\"{text}\" is no duration such as 90m, 24h or 30d");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number
        .checked_mul(seconds)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(wrong)?;
    if seconds > LONGEST {
        return Err(format!("\"{text}\" is longer than 100 years"));
    }
    TimeDelta::try_seconds(seconds).ok_or_else(wrong)
}

/// Returns a duration as `parse_duration` reads it, in the largest unit that is exact.
pub fn duration_text(seconds: i64) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds % length == 0 {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests;
