//! How often somebody may do something: pure, the instant is a parameter.
//!
//! A bucket holds `burst` tokens at first and gets one back each `period`. All that is kept of it is the instant at which
//! it will be full again (the generic cell rate algorithm), so a bucket that is full needs no room at all.
//!
//! With a burst of 2 and a period of 1 s: taken at 0.0 s and 0.1 s, refused at 0.2 s with "wait 0.8 s", taken at 1.0 s.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How many at once, and how long until each comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many may be taken at once; at least one.
    pub burst: u32,
    /// How long until one comes back.
    pub period: Duration,
}

impl RateLimit {
    /// Returns a limit of `burst` at once and one more each `period`.
    #[must_use]
    pub const fn new(burst: u32, period: Duration) -> Self {
        Self { burst, period }
    }

    /// Returns how far ahead of now a bucket's fill may lie so that one more can be taken.
    fn burst_slack(self) -> Duration {
        self.period.saturating_mul(self.burst.saturating_sub(1))
    }
}

/// The tokens of one holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBucket {
    /// When it is full again; `None`, or an instant that has passed: it is full.
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// Takes a token.
    ///
    /// # Errors
    ///
    /// How long to wait until there is one; nothing is taken then.
    pub fn take_token(&mut self, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        let ahead = full_at - now;
        match ahead.checked_sub(limit.burst_slack()) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = Some(full_at + limit.period);
                Ok(())
            }
        }
    }

    /// Says whether there is a token, and takes none.
    ///
    /// # Errors
    ///
    /// How long to wait until there is one.
    pub fn check_token(&self, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        let mut bucket = *self;
        bucket.take_token(limit, now)
    }

    /// Gives a token back that should not have been taken.
    pub fn return_token(&mut self, limit: RateLimit) {
        self.full_at = self
            .full_at
            .and_then(|full_at| full_at.checked_sub(limit.period));
    }

    /// Says whether all tokens are there: such a bucket can be forgotten.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

/// The buckets of many holders, bounded in number.
///
/// Full buckets are dropped when room is needed. When none is full, a holder without a bucket gets none and is let
/// through: a crowd of holders must be bounded by what they share, see [`TokenBuckets::take_token`].
#[derive(Clone, Debug)]
pub struct TokenBuckets<K> {
    limit: RateLimit,
    most: usize,
    buckets: BTreeMap<K, TokenBucket>,
    /// When full buckets were last dropped.
    swept: Option<Instant>,
}

impl<K: Ord> TokenBuckets<K> {
    /// Returns buckets of one limit, for at most `most` holders at a time.
    #[must_use]
    pub const fn new(limit: RateLimit, most: usize) -> Self {
        let buckets = BTreeMap::new();
        Self {
            limit,
            most,
            buckets,
            swept: None,
        }
    }

    /// Takes a token of a holder.
    ///
    /// # Errors
    ///
    /// How long to wait until there is one.
    pub fn take_token(&mut self, holder: K, now: Instant) -> Result<(), Duration> {
        if let Some(bucket) = self.buckets.get_mut(&holder) {
            return bucket.take_token(self.limit, now);
        }
        if self.buckets.len() >= self.most {
            self.drop_full_buckets(now);
        }
        let mut bucket = TokenBucket::default();
        let taken = bucket.take_token(self.limit, now);
        if self.buckets.len() < self.most {
            self.buckets.insert(holder, bucket);
        }
        taken
    }

    /// Says whether a holder has a token, and takes none.
    ///
    /// # Errors
    ///
    /// How long to wait until there is one.
    pub fn check_token(&self, holder: &K, now: Instant) -> Result<(), Duration> {
        match self.buckets.get(holder) {
            Some(bucket) => bucket.check_token(self.limit, now),
            None => Ok(()),
        }
    }

    /// Gives a token back to a holder.
    pub fn return_token(&mut self, holder: &K) {
        if let Some(bucket) = self.buckets.get_mut(holder) {
            bucket.return_token(self.limit);
        }
    }

    /// Returns how many holders have a bucket.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Says whether no holder has a bucket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Drops full buckets; at most once a period, so that a crowd does not cost a pass over all for each of it.
    fn drop_full_buckets(&mut self, now: Instant) {
        let is_due = self
            .swept
            .is_none_or(|swept| now.saturating_duration_since(swept) >= self.limit.period);
        if is_due {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            self.swept = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
