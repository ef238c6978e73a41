//! How long a call may take until its response headers.

use std::time::Duration;

use http::HeaderMap;
use tonic::Status;

/// For calls that do not say: longer than any healthy answer, shorter than a person's patience.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// Returns the limit of a call, from its `grpc-timeout` header when it has a valid one.
pub(super) fn call_limit(headers: &HeaderMap) -> Duration {
    let text = headers
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok());
    text.and_then(parse_timeout).unwrap_or(DEFAULT_LIMIT)
}

/// Ends an answer that takes too long.
pub(super) async fn enforce_limit<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(|_| Err(late_status()))
}

/// Says that an answer took too long.
pub(super) fn late_status() -> Status {
    Status::unavailable("no answer in time")
}

/// Reads up to eight digits and a unit, as the gRPC protocol over HTTP/2 writes timeouts.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
