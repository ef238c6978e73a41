//! Limits how fast logins start. A person decides about each, so that one network needs few of them.

use std::time::{Duration, Instant};

use bowline_service_kit::rate_limit::{RateLimit, TokenBuckets};
use parking_lot::Mutex;

use crate::{domain::login::limits::SourceNetworks, error::IdentityError};

/// For one source address: 30 at once, enough for an office that logs in all its devices, then one every five seconds.
const NEAR: RateLimit = RateLimit::new(30, Duration::from_secs(5));
/// For the wider network around it: 60 at once, then one every two seconds.
const FAR: RateLimit = RateLimit::new(60, Duration::from_secs(2));
/// How many networks of each kind are remembered.
const MOST_NETWORKS: usize = 10_000;

/// How many logins each source and each wider network may still start. Each replica counts for itself.
#[derive(Debug)]
pub(crate) struct LoginPace(Mutex<[TokenBuckets<String>; 2]>);

impl Default for LoginPace {
    fn default() -> Self {
        let buckets = [NEAR, FAR].map(|limit| TokenBuckets::new(limit, MOST_NETWORKS));
        Self(Mutex::new(buckets))
    }
}

impl LoginPace {
    /// Counts one more login of a source.
    ///
    /// # Errors
    ///
    /// When the source or its network starts logins too fast; with how long to wait.
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
