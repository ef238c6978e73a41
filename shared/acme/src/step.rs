//! What to do next.

use chrono::{DateTime, Utc};

use crate::{
    attempt::{FailedAttempt, LONGEST_WAIT},
    certificate::CertificateFacts,
};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Nothing before this time.
    Wait(DateTime<Utc>),
    /// Order a certificate.
    Order,
}

/// Decides what to do: order when there is no certificate for all hosts, or a third of its time is left, but not before the
/// wait after a failure is over.
pub(crate) fn decide_step(
    now: DateTime<Utc>,
    hosts: &[String],
    certificate: Option<&CertificateFacts>,
    failed: Option<&FailedAttempt>,
) -> NextStep {
    let due = certificate
        .filter(|certificate| certificate.is_for(hosts))
        .map_or(now, CertificateFacts::renewal_time);
    // No wait is longer, unless the clock was wrong when it began.
    let failed = failed.filter(|failed| failed.next - now <= LONGEST_WAIT);
    let allowed = failed.map_or(due, |failed| failed.next.max(due));
    if allowed <= now {
        NextStep::Order
    } else {
        NextStep::Wait(allowed)
    }
}

#[cfg(test)]
mod tests;
