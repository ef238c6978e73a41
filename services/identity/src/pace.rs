//! How fast logins may begin. A person decides each login, so that a source needs few of them.

use std::time::{Duration, Instant};

use bowline_service_kit::rate_limit::{RateLimit, TokenBuckets};
use parking_lot::Mutex;

use crate::{domain::login::limits::SourceNetworks, error::IdentityError};

/// For a source. An office may log in all its devices at once; then one login every five seconds.
const NEAR: RateLimit = RateLimit::new(30, Duration::from_secs(5));
/// For the wider network around it.
const FAR: RateLimit = RateLimit::new(60, Duration::from_secs(2));
/// The most networks that are counted apart at a time.
const MOST_NETWORKS: usize = 10_000;

/// The logins that each network may still begin.
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
    pub(crate) fn take_turn(&self, source: &str, now: Instant) -> Result<(), IdentityError> {
        let SourceNetworks { near, far, .. } = SourceNetworks::from_address(source);
        let mut buckets = self.0.lock();
        for (buckets, network) in buckets.iter_mut().zip([near, far]) {
            buckets
                .take_token(network, now)
                .map_err(IdentityError::LoginsTooFast)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
