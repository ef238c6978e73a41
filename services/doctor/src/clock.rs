//! Whether the server's clock and this machine's agree.

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, header};

use crate::finding::Judgement;

/// What is no matter: `Date` has whole seconds, and the way takes time.
const FINE: TimeDelta = TimeDelta::seconds(5);
/// What certificates, logins and expiries suffer from.
const BAD: TimeDelta = TimeDelta::minutes(5);

/// Compares the `Date` of an answer with the time here.
pub(crate) fn judge_date(headers: &HeaderMap, now: DateTime<Utc>) -> Judgement {
    let text = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    let date = text.and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let Some(date) = date else {
        return Judgement::warning("the answer has no date: the clocks can not be compared");
    };
    let ahead = date.to_utc() - now;
    let seconds = ahead.num_seconds().abs();
    let side = if ahead < TimeDelta::zero() {
        "behind"
    } else {
        "ahead"
    };
    let text = format!(
        "the server's clock is {seconds} seconds {side} of the one here: set the wrong one by NTP"
    );
    if ahead.abs() <= FINE {
        Judgement::ok("it agrees with the one here")
    } else if ahead.abs() < BAD {
        Judgement::warning(text)
    } else {
        Judgement::failed(text)
    }
}

#[cfg(test)]
mod tests;
