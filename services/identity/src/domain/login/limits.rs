//! How many logins may be pending at a time.
//!
//! Anybody can make up machine keys, so that a limit for each key alone would limit nobody. Logins are also counted by the
//! address they come from and by the networks around it: whoever has one IPv6 address mostly has its whole /64, and often
//! the /56 or /48.
//!
//! When there are too many in all, some are deleted ("evicted") to make room for the new one, from the network that has
//! most of them. Logins that no client waits for go first: real clients wait all the time. Where there are none, the oldest
//! ones of that network go, so that nobody keeps others out by waiting for thousands of logins.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::{Ipv4Net, Ipv6Net};

use super::LIFETIME;
use crate::error::IdentityError;

/// The most pending logins of one machine key.
pub const PER_MACHINE: i64 = 5;
/// The most pending logins of each of the [`SourceNetworks`], from the narrowest to the widest.
const PER_NETWORK: [i64; 3] = [50, 100, 200];
/// The most pending logins of all.
pub const IN_ALL: i64 = 10_000;
/// How many logins that nobody waits for are evicted at once, and how many of the others.
const MOST_EVICTED: i64 = 100;
const MOST_EVICTED_OF_AWAITED: i64 = 10;
/// A login counts as waited for when it was recorded within this time that its client waits. While a client waits, that is
/// recorded every 20 seconds.
const AWAITED_WITHIN: TimeDelta = TimeDelta::seconds(90);
/// A new login counts as waited for within this time, because its client has to come back to wait for it.
const NEW_WITHIN: TimeDelta = TimeDelta::seconds(10);

/// The networks around the address that a login comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceNetworks {
    /// An IPv4 address, or an IPv6 /64.
    pub near: String,
    /// An IPv4 address, or an IPv6 /56.
    pub middle: String,
    /// An IPv4 /24, or an IPv6 /48.
    pub far: String,
}

impl SourceNetworks {
    /// Returns the networks of an address in text. A text that is no address is taken as three networks of that name.
    pub fn from_address(source: &str) -> Self {
        let network = |bits: u8| match source.parse::<IpAddr>().map(|found| found.to_canonical()) {
            Ok(IpAddr::V4(address)) => {
                Ipv4Net::new(address, bits).map(|network| network.trunc().to_string())
            }
            Ok(IpAddr::V6(address)) => {
                Ipv6Net::new(address, bits).map(|network| network.trunc().to_string())
            }
            Err(_) => Ok(source.to_owned()),
        };
        let is_v6 = matches!(
            source.parse::<IpAddr>().map(|found| found.to_canonical()),
            Ok(IpAddr::V6(_))
        );
        let [near, middle, far] = if is_v6 { [64, 56, 48] } else { [32, 32, 24] }
            .map(|bits| network(bits).unwrap_or_else(|_| source.to_owned()));
        Self { near, middle, far }
    }
}

/// Which pending logins may be evicted, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionRule {
    /// Only those that were not waited for since this time.
    pub followed_before: DateTime<Utc>,
    /// Only those that expire before this time.
    pub ending_before: DateTime<Utc>,
    /// At most so many.
    pub most: i64,
}

impl EvictionRule {
    /// Returns the rule to try first, for logins that nobody waits for, and the rule to try where that finds none.
    pub fn in_turn(now: DateTime<Utc>) -> [Self; 2] {
        let unwatched = Self {
            followed_before: now - AWAITED_WITHIN,
            ending_before: now + LIFETIME - NEW_WITHIN,
            most: MOST_EVICTED,
        };
        let any = Self {
            followed_before: now + LIFETIME,
            ending_before: now + LIFETIME * 2,
            most: MOST_EVICTED_OF_AWAITED,
        };
        [unwatched, any]
    }
}

/// How many logins are pending.
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingCounts {
    /// Of the machine key.
    pub machine: i64,
    /// Of the networks of the source, narrow to wide.
    pub networks: [i64; 3],
}

/// Checks that one more login may be added to these.
///
/// # Errors
///
/// When the machine or one of the networks has as many as it may have.
pub fn check_counts(waiting: PendingCounts) -> Result<(), IdentityError> {
    let has_room = waiting
        .networks
        .iter()
        .zip(PER_NETWORK)
        .all(|(waiting, most)| *waiting < most);
    if waiting.machine < PER_MACHINE && has_room {
        Ok(())
    } else {
        Err(IdentityError::TooManyLogins)
    }
}

#[cfg(test)]
mod tests;
