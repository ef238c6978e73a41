//! Times and durations as XML writes them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// Reads a time such as `2026-11-27T04:00:00Z`.
pub(crate) fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(text.trim()).ok()?;
    Some(parsed.with_timezone(&Utc))
}

/// Writes a time to the second.
pub(crate) fn format_instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a duration such as `P1D` or `PT6H30M`. A year counts as 365 days and a month as 30.
pub(crate) fn parse_duration(text: &str) -> Option<TimeDelta> {
    const DATE: [(char, i64); 3] = [('Y', 365 * 86_400), ('M', 30 * 86_400), ('D', 86_400)];
    const TIME: [(char, i64); 3] = [('H', 3600), ('M', 60), ('S', 1)];
    let text = text.trim().strip_prefix('P')?;
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None if text.is_empty() => return None,
        None => (text, ""),
    };
    let seconds = sum_units(date, &DATE)?.checked_add(sum_units(time, &TIME)?)?;
    TimeDelta::try_seconds(seconds)
}

/// Adds up numbers that are each followed by a unit, in the order of the units. Fractions are left out.
fn sum_units(mut text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut sum = 0_i64;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|letter: char| letter.is_ascii_alphabetic())?;
        let (number, rest) = text.split_at(end);
        let unit = rest.chars().next()?;
        let (_, seconds) = units.find(|(name, _)| *name == unit)?;
        let whole = number.split_once('.').map_or(number, |(whole, _)| whole);
        if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let amount = whole.parse::<i64>().ok()?.checked_mul(*seconds)?;
        sum = sum.checked_add(amount)?;
        text = &rest[1..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests;
