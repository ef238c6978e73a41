//! When a connection ends in a drain, and how its end is announced.

use bowline_service_kit::Shutdown;
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

/// The part of the drain time in which connections begin to close; the rest is for what they still have to send.
const DRAIN_SPREAD: f64 = 0.7;

/// How a connection ends in a drain.
#[derive(Debug)]
pub struct ConnectionEnd {
    pub(super) number: u64,
    pub(super) shutdown: Shutdown,
    /// The part of the drain time after which it closes.
    pub(super) share: f64,
    /// Cancelled to close it before that.
    pub(super) early: CancellationToken,
    /// Cancelled when the client was told that the connection closes.
    pub(super) closing: CancellationToken,
    /// Counts it among those that the drain waits for.
    _open: TaskTrackerToken,
}

impl ConnectionEnd {
    /// Describes how the connection with this number ends. Connections with consecutive numbers close far apart in a
    /// drain.
    pub(super) fn new(shutdown: Shutdown, number: u64, open: TaskTrackerToken) -> Self {
        Self {
            number,
            shutdown,
            share: DRAIN_SPREAD * spread_fraction(number),
            early: CancellationToken::new(),
            closing: CancellationToken::new(),
            _open: open,
        }
    }
}

/// Returns a number between 0 and 1 that is far from those of neighbouring numbers.
#[expect(clippy::cast_precision_loss, reason = "a spread needs no precision")]
pub fn spread_fraction(number: u64) -> f64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64
}
