//! How often programs may ask: who has the wrong secret waits, and so does who asks too often. Each gateway counts for
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

/// Tries that are wrong, of one address (IPv6: of a /64): 20 at once, then one in five seconds.
const NEAR_FAILURES: RateLimit = RateLimit::new(20, Duration::from_secs(5));
/// Tries that are wrong, of the widest network around it: 100 at once, then one a second.
const FAR_FAILURES: RateLimit = RateLimit::new(100, Duration::from_secs(1));
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

/// How often networks come with what is wrong.
#[derive(Debug)]
pub(crate) struct FailureLimits(Mutex<[TokenBuckets<IpAddr>; 2]>);

impl Default for FailureLimits {
    fn default() -> Self {
        let limits = [NEAR_FAILURES, FAR_FAILURES];
        Self(Mutex::new(
            limits.map(|limit| TokenBuckets::new(limit, MOST_HOLDERS)),
        ))
    }
}

impl FailureLimits {
    /// Begins a try of an address's network; says how long the network has to wait where too many were wrong.
    pub(crate) fn begin_try(
        &self,
        source: IpAddr,
        now: Instant,
    ) -> Result<FailureTry<'_>, Duration> {
        let [widest, ..] = Network::around(source);
        let networks = [Network::narrowest(source), widest].map(Network::first_address);
        for (buckets, network) in self.0.lock().iter_mut().zip(&networks) {
            buckets.check_token(network, now)?;
        }
        Ok(FailureTry {
            limits: self,
            networks,
            now,
            is_right: false,
        })
    }
}

/// A try. It counts as wrong, unless it is said to be right: whoever hangs up before the answer has guessed.
#[derive(Debug)]
pub(crate) struct FailureTry<'a> {
    limits: &'a FailureLimits,
    networks: [IpAddr; 2],
    now: Instant,
    is_right: bool,
}

impl FailureTry<'_> {
    /// Says that nothing was wrong.
    pub(crate) fn note_right(mut self) {
        self.is_right = true;
    }
}

impl Drop for FailureTry<'_> {
    fn drop(&mut self) {
        if !self.is_right {
            for (buckets, network) in self.limits.0.lock().iter_mut().zip(self.networks) {
                // More than there are tokens may be wrong at once.
                let _ = buckets.take_token(network, self.now);
            }
        }
    }
}

/// How often networks fail, and holders of secrets ask.
#[derive(Debug)]
pub(crate) struct SecretLimits {
    failures: FailureLimits,
    turns: Mutex<TokenBuckets<String>>,
}

impl SecretLimits {
    /// Returns limits by which each holder may ask so often. That counts once the secret is proven, so that nobody who knows
    /// a holder's id keeps it from asking.
    pub(crate) fn new(turns: RateLimit) -> Self {
        Self {
            failures: FailureLimits::default(),
            turns: Mutex::new(TokenBuckets::new(turns, MOST_HOLDERS)),
        }
    }

    /// Begins a try of an address's network for a holder.
    pub(crate) fn begin_try(
        &self,
        source: IpAddr,
        holder: &str,
        now: Instant,
    ) -> Result<SecretTry<'_>, MustWait> {
        let failure = self.failures.begin_try(source, now);
        let failure = failure.map_err(MustWait::Network)?;
        let holder = holder.to_owned();
        if let Err(wait) = self.turns.lock().check_token(&holder, now) {
            // The secret was not looked at.
            failure.note_right();
            return Err(MustWait::Holder(wait));
        }
        Ok(SecretTry {
            failure,
            turns: &self.turns,
            holder,
        })
    }
}

/// A try of a secret. It counts as wrong, unless it is said to be right.
#[derive(Debug)]
pub(crate) struct SecretTry<'a> {
    failure: FailureTry<'a>,
    turns: &'a Mutex<TokenBuckets<String>>,
    holder: String,
}

impl SecretTry<'_> {
    /// Says that the secret was not wrong: it was the holder's turn.
    pub(crate) fn note_right(self) {
        let now = self.failure.now;
        self.failure.note_right();
        // More than there are turns may be under way at once.
        let _ = self.turns.lock().take_token(self.holder, now);
    }
}

#[cfg(test)]
mod tests;
