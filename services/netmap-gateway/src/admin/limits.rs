//! How often administrators may call: pure, but for the lock.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bowline_proto::access::Principal;
use bowline_service_kit::{
    Code, ServiceError,
    rate_limit::{RateLimit, TokenBuckets},
};
use parking_lot::Mutex;

/// Calls without a valid token, of one network: 20 at once, then one in five seconds.
const FAILURES: RateLimit = RateLimit::new(20, Duration::from_secs(5));
/// Calls of one token: 200 at once, then 50 a second.
const OF_TOKEN: RateLimit = RateLimit::new(200, Duration::from_millis(20));
/// Calls of one user, with whatever tokens: 400 at once, then 100 a second.
const OF_USER: RateLimit = RateLimit::new(400, Duration::from_millis(10));
/// How many networks, tokens and users are remembered.
const MOST_HOLDERS: usize = 10_000;

/// How often each network fails, and each token and user calls. Each gateway counts for itself.
#[derive(Debug)]
pub(super) struct AdminLimits(Mutex<AdminBuckets>);

#[derive(Debug)]
struct AdminBuckets {
    failures: TokenBuckets<IpAddr>,
    tokens: TokenBuckets<String>,
    users: TokenBuckets<(u64, u64)>,
}

impl Default for AdminLimits {
    fn default() -> Self {
        Self(Mutex::new(AdminBuckets {
            failures: TokenBuckets::new(FAILURES, MOST_HOLDERS),
            tokens: TokenBuckets::new(OF_TOKEN, MOST_HOLDERS),
            users: TokenBuckets::new(OF_USER, MOST_HOLDERS),
        }))
    }
}

/// Who calls too often.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallsTooOften {
    /// A network whose tokens are none.
    #[error("too many calls without a valid token come from this network: try again later")]
    Network(Duration),
    /// A token.
    #[error("this token calls too often: try again later")]
    Token(Duration),
    /// A user, with whatever tokens.
    #[error("this user's tokens call too often: try again later")]
    User(Duration),
}

impl ServiceError for CallsTooOften {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }

    fn reason(&self) -> &'static str {
        "TOO_OFTEN"
    }

    fn retry_after(&self) -> Duration {
        match self {
            Self::Network(wait) | Self::Token(wait) | Self::User(wait) => *wait,
        }
    }
}

impl AdminLimits {
    /// Says whether a network may try once more.
    ///
    /// # Errors
    ///
    /// That it may not, and how long it has to wait.
    pub(super) fn check_failures(
        &self,
        network: IpAddr,
        now: Instant,
    ) -> Result<(), CallsTooOften> {
        let failures = &mut self.0.lock().failures;
        failures
            .take_token(network, now)
            .map_err(CallsTooOften::Network)?;
        failures.return_token(&network);
        Ok(())
    }

    /// Counts a call without a valid token.
    pub(super) fn count_failure(&self, network: IpAddr, now: Instant) {
        // It was checked before the token was looked at.
        self.0.lock().failures.take_token(network, now).ok();
    }

    /// Counts a call of a token and of its user.
    ///
    /// # Errors
    ///
    /// Who of the two calls too often.
    pub(super) fn take_turn(&self, by: &Principal, now: Instant) -> Result<(), CallsTooOften> {
        let mut buckets = self.0.lock();
        let token = by.credential_id.clone();
        buckets
            .tokens
            .take_token(token, now)
            .map_err(CallsTooOften::Token)?;
        let Some(user) = by.user_id() else {
            return Ok(());
        };
        let user = (by.tailnet_id, user);
        buckets
            .users
            .take_token(user, now)
            .map_err(CallsTooOften::User)
    }
}
