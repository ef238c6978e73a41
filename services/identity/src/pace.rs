//! How fast logins may begin: people are slow, and an address is shown for each.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bowline_service_kit::rate_limit::{RateLimit, TokenBuckets};

use crate::{domain::login::room::Networks, error::IdentityError};

/// For a source: an office whose devices all log in at once, and then one login every five seconds.
const NEAR: RateLimit = RateLimit::new(30, Duration::from_secs(5));
/// For the networks around it.
const FAR: RateLimit = RateLimit::new(60, Duration::from_secs(2));
/// The most networks that are told apart at a time.
const MOST_NETWORKS: usize = 10_000;

/// What each network has left.
#[derive(Debug)]
pub(crate) struct LoginPace(Mutex<[TokenBuckets<String>; 2]>);

impl Default for LoginPace {
    fn default() -> Self {
        let buckets = [NEAR, FAR].map(|limit| TokenBuckets::new(limit, MOST_NETWORKS));
        Self(Mutex::new(buckets))
    }
}

impl LoginPace {
    /// Counts a login of a source that begins.
    ///
    /// # Errors
    ///
    /// When it begins too soon; with how long to wait.
    pub(crate) fn take(&self, source: &str, now: Instant) -> Result<(), IdentityError> {
        let Networks { near, far, .. } = Networks::of(source);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (buckets, network) in buckets.iter_mut().zip([near, far]) {
            buckets
                .take(network, now)
                .map_err(IdentityError::LoginsTooFast)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_begins_many_at_once_and_then_few() {
        let (pace, now) = (LoginPace::default(), Instant::now());
        for _ in 0..30 {
            pace.take("192.0.2.7", now).unwrap();
        }
        let refused = pace.take("192.0.2.7", now).unwrap_err();
        assert!(matches!(refused, IdentityError::LoginsTooFast(wait) if wait == NEAR.period));
        pace.take("192.0.2.8", now).unwrap();
        pace.take("192.0.2.7", now + NEAR.period).unwrap();
    }

    #[test]
    fn a_network_of_many_sources_begins_no_faster_than_one() {
        let (pace, now) = (LoginPace::default(), Instant::now());
        let begun =
            (0..1000).filter(|subnet| pace.take(&format!("2001:db8:0:{subnet:x}::1"), now).is_ok());
        assert_eq!(begun.count(), 60);
    }
}
