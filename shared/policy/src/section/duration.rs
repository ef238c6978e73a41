//! Durations as Go reads and writes them: `1h30m`, `-1.5s`.

const LONGEST: u64 = 1 << 63;
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];
/// A second in nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Reads a duration in nanoseconds.
///
/// # Errors
///
/// What Go says about a text that is no duration, or one that does not fit into 64 bits.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote_like_go(text));
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        // Go finds a number too long before it looks at the unit.
        let whole = if whole.is_empty() {
            Some(0)
        } else {
            whole.parse::<u64>().ok()
        };
        let whole = whole
            .filter(|whole| *whole <= LONGEST)
            .ok_or_else(invalid)?;
        if unit.is_empty() {
            return Err(format!(
                "time: missing unit in duration {}",
                quote_like_go(text)
            ));
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, unit) = known.ok_or_else(|| {
            let (unit, text) = (quote_like_go(unit), quote_like_go(text));
            format!("time: unknown unit {unit} in duration {text}")
        })?;
        let part = whole
            .checked_mul(*unit)
            .and_then(|part| part.checked_add(part_of_unit(fraction, *unit)));
        let sum = part.and_then(|part| nanos.checked_add(part));
        nanos = sum.filter(|sum| *sum <= LONGEST).ok_or_else(invalid)?;
        rest = after;
    }
    if is_negative {
        return Ok(0_i64.checked_sub_unsigned(nanos).unwrap_or(i64::MIN));
    }
    i64::try_from(nanos).map_err(|_| invalid())
}

/// Returns the part of a unit that the digits after the point mean, in nanoseconds, rounded down.
fn part_of_unit(fraction: &str, unit: u64) -> u64 {
    let mut part = 0_u128;
    let mut scale = 1_u128;
    for digit in fraction.bytes().take(18) {
        part = part * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(part * u128::from(unit) / scale).unwrap_or(u64::MAX)
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// Writes nanoseconds as a duration: `200h0m0s`, `-1.5s`, `20ms`.
pub(super) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    if size == 0 {
        return "0s".to_owned();
    }
    let below = [
        (1_000, 1, "ns"),
        (1_000_000, 1_000, "\u{b5}s"),
        (SECOND, 1_000_000, "ms"),
    ];
    if let Some((_, unit, name)) = below.iter().find(|(end, ..)| size < *end) {
        return format!("{sign}{}{name}", format_decimal(size, *unit));
    }
    let seconds = format_decimal(size % (60 * SECOND), SECOND);
    let minutes = size / (60 * SECOND);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// Writes a number of units, without zeros at the end.
fn format_decimal(size: u64, unit: u64) -> String {
    let places = unit.ilog10() as usize;
    let fraction = format!("{:0places$}", size % unit);
    match (places, fraction.trim_end_matches('0')) {
        (0, _) | (_, "") => (size / unit).to_string(),
        (_, fraction) => format!("{}.{fraction}", size / unit),
    }
}

/// Quotes a text as Go's messages about durations do: bytes that are not printable ASCII are written in hexadecimal.
fn quote_like_go(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'\x7e' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
