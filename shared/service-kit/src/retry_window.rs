//! When those who are turned away should come back. Pure: the instant and the randomness are parameters.
//!
//! Clients wait exactly as long as they are told. Told all the same, they come back together, and are turned away together.

use std::time::{Duration, Instant};

/// The shortest window.
const SHORTEST: Duration = Duration::from_secs(5);
/// The longest window.
const LONGEST: Duration = Duration::from_secs(120);
/// How many of those who come back each second are no load.
const COMERS: f64 = 100.0;
/// How long until a refusal counts for a third of what it did.
const MEMORY: Duration = Duration::from_secs(10);

/// How many were turned away lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryWindow {
    lately: f64,
    at: Option<Instant>,
}

impl RetryWindow {
    /// Notes a refusal, and returns the seconds after which that client should come back: at least one, spread evenly
    /// over a window that grows with the number of refusals.
    pub fn note_refusal(&mut self, now: Instant, random: u64) -> u64 {
        let since = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let faded = (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.lately = self.lately.mul_add(faded, 1.0);
        self.at = Some(now);
        retry_after(self.lately, random)
    }
}

/// Returns the seconds to wait when so many were turned away lately.
fn retry_after(lately: f64, random: u64) -> u64 {
    let window = Duration::from_secs_f64((lately / COMERS).min(LONGEST.as_secs_f64()));
    1 + random % window.max(SHORTEST).as_secs()
}

#[cfg(test)]
mod tests;
