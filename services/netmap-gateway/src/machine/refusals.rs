//! Records refused registrations: each in a metric, and for each source one line a minute in the log. The line has the
//! address, so that somebody who guesses keys can be found, and does not fill the log.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bowline_keys::MachinePublic;
use bowline_service_kit::rate_limit::{RateLimit, TokenBuckets};
use parking_lot::Mutex;

/// One line a minute.
const LINES: RateLimit = RateLimit::new(1, Duration::from_secs(60));
/// How many sources have a minute of their own.
const MOST_SOURCES: usize = 10_000;

/// The refusals of registrations.
#[derive(Debug)]
pub(crate) struct RefusalLog(Mutex<TokenBuckets<IpAddr>>);

impl Default for RefusalLog {
    fn default() -> Self {
        Self(Mutex::new(TokenBuckets::new(LINES, MOST_SOURCES)))
    }
}

impl RefusalLog {
    /// Records a refusal; returns whether it was written to the log.
    pub(super) fn log_refusal(
        &self,
        source: IpAddr,
        machine: MachinePublic,
        reason: &'static str,
        now: Instant,
    ) -> bool {
        metrics::counter!("bowline_gateway_registrations_refused_total", "reason" => reason)
            .increment(1);
        let mut lines = self.0.lock();
        let is_logged = lines.take_token(source, now).is_ok();
        if is_logged {
            tracing::warn!(
                %source,
                ?machine,
                reason,
                "registration refused; others from there within a minute are not logged"
            );
        }
        is_logged
    }
}

#[cfg(test)]
mod tests;
