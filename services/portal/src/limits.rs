//! How often programs with a secret may ask: who has the wrong one waits, and so does who asks too often. Each gateway counts for
//! itself.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bowline_service_kit::{
    networks::Network,
    rate_limit::{RateLimit, TokenBuckets},
};
use parking_lot::Mutex;

/// Tries without a valid secret, of one network: 20 at once, then one in five seconds.
const FAILURES: RateLimit = RateLimit::new(20, Duration::from_secs(5));
/// How many networks and holders of secrets are remembered.
const MOST_HOLDERS: usize = 10_000;

/// Who has to wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MustWait {
    /// The network, because of tries with wrong secrets.
    Network(Duration),
    /// The holder of the secret.
    Holder(Duration),
}

/// How often networks fail, and holders of secrets ask.
#[derive(Debug)]
pub(crate) struct SecretLimits(Mutex<(TokenBuckets<IpAddr>, TokenBuckets<String>)>);

impl SecretLimits {
    /// Returns limits by which each holder may ask so often. That counts once the secret is proven, so that nobody who knows
    /// a holder's id keeps it from asking.
    pub(crate) fn new(turns: RateLimit) -> Self {
        Self(Mutex::new((
            TokenBuckets::new(FAILURES, MOST_HOLDERS),
            TokenBuckets::new(turns, MOST_HOLDERS),
        )))
    }

    /// Takes a try of an address's network, and a turn of a holder. One of them is given back when it is known whether the
    /// secret is right.
    pub(crate) fn take_try(
        &self,
        source: IpAddr,
        holder: &str,
        now: Instant,
    ) -> Result<(), MustWait> {
        let (failures, turns) = &mut *self.0.lock();
        let network = Network::narrowest(source).first_address();
        failures
            .take_token(network, now)
            .map_err(MustWait::Network)?;
        turns
            .take_token(holder.to_owned(), now)
            .map_err(MustWait::Holder)
    }

    /// Gives back what a try has taken too much: the network's, where the secret was right, and else the holder's.
    pub(crate) fn settle_try(&self, source: IpAddr, holder: &str, was_right: bool) {
        let (failures, turns) = &mut *self.0.lock();
        match was_right {
            true => failures.return_token(&Network::narrowest(source).first_address()),
            false => turns.return_token(&holder.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
