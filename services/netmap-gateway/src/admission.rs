//! How many of the requests that cost most are worked on at once, so that a storm of clients queues.

use std::{num::NonZero, thread::available_parallelism, time::Duration};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::machine::Failure;

/// How many registrations are with the registry at once: it commits those that wait together.
const REGISTRATIONS: usize = 256;
/// How long another request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The turns of this gateway; those who wait are served in the order they came.
#[derive(Debug)]
pub struct Admission {
    registrations: Semaphore,
    first_maps: Semaphore,
}

impl Admission {
    /// Returns turns for a number of registrations and of first messages at once.
    fn new(registrations: usize, first_maps: usize) -> Self {
        Self {
            registrations: Semaphore::new(registrations),
            first_maps: Semaphore::new(first_maps),
        }
    }

    /// Waits for the turn to ask the registry for a registration.
    ///
    /// # Errors
    ///
    /// 429 with a time to try again when too many wait.
    pub async fn registration(&self) -> Result<SemaphorePermit<'_>, Failure> {
        turn(&self.registrations).await.ok_or_else(|| {
            let text = "too many devices are logging in at the moment: try again in a few seconds";
            Failure::new(StatusCode::TOO_MANY_REQUESTS, text)
        })
    }

    /// Waits for the turn to make the first message of a stream.
    ///
    /// # Errors
    ///
    /// 503 with a time to try again when too many wait.
    pub async fn first_map(&self) -> Result<SemaphorePermit<'_>, Failure> {
        turn(&self.first_maps).await.ok_or_else(|| {
            let text = "too many devices are connecting at the moment: try again in a few seconds";
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })
    }
}

impl Default for Admission {
    /// Returns as many turns for first messages, which keep a processor busy, as there are processors.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self::new(REGISTRATIONS, processors)
    }
}

async fn turn(turns: &Semaphore) -> Option<SemaphorePermit<'_>> {
    let turn = tokio::time::timeout(PATIENCE, turns.acquire()).await;
    turn.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn refusal(refused: Result<SemaphorePermit<'_>, Failure>) -> (u16, bool) {
        let response = refused
            .err()
            .map(Failure::into_response)
            .unwrap_or_default();
        (
            response.status().as_u16(),
            response.headers().contains_key("retry-after"),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn those_beyond_the_bound_wait_for_their_turn_and_are_then_told_to_come_back() {
        let admission = Admission::new(1, 1);
        let registration = admission.registration().await.unwrap();
        let map = admission.first_map().await.unwrap();
        assert_eq!(refusal(admission.registration().await), (429, true));
        assert_eq!(refusal(admission.first_map().await), (503, true));
        let waiting = tokio::join!(admission.registration(), admission.first_map(), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop((registration, map));
        });
        assert!(waiting.0.is_ok() && waiting.1.is_ok());
    }
}
