//! How many logins may wait, and for whom.
//!
//! Anybody can make machine keys, so that the limits go by source address, and by the networks around it: whoever has one
//! IPv6 address mostly has a /64 of them, and often a /56 or a /48.
//!
//! When too many logins wait in all, some are evicted, from the network that has most. First go logins that no client
//! waits for; a real client waits for its login all the time. Where there are none, the oldest logins of that network go,
//! so that a client that waits for thousands of logins keeps nobody out.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::{Ipv4Net, Ipv6Net};

use super::LIFETIME;
use crate::error::IdentityError;

/// The most logins that wait for one machine key.
pub const PER_MACHINE: i64 = 5;
/// The most logins that wait for a source, narrow to wide: an IPv4 address or a /64, a /56, a /48 or an IPv4 /24.
const PER_NETWORK: [i64; 3] = [50, 100, 200];
/// The most logins that wait in all.
pub const IN_ALL: i64 = 10_000;
/// How many logins are evicted at once that nobody waits for, and how many of the others.
const MOST_EVICTED: i64 = 100;
const MOST_EVICTED_OF_AWAITED: i64 = 10;
/// How long after its client waited for it last a login counts as waited for: clients ask again in between.
const AWAITED_WITHIN: TimeDelta = TimeDelta::seconds(90);
/// How long a new login counts as waited for: its client has to come back first.
const NEW_WITHIN: TimeDelta = TimeDelta::seconds(10);

/// The networks of a source, narrow to wide.
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
    /// Returns those of a source address as it is written; what is no address is a network of its own.
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

/// Which pending logins may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionRule {
    /// Those that nobody has waited for since this time.
    pub followed_before: DateTime<Utc>,
    /// Those that end before.
    pub ending_before: DateTime<Utc>,
    /// So many.
    pub most: i64,
}

impl EvictionRule {
    /// Returns the rule to try first, for logins that nobody waits for, and the rule to try where that finds none.
    pub fn in_turn(now: DateTime<Utc>) -> [Self; 2] {
        let of_nobody = Self {
            followed_before: now - AWAITED_WITHIN,
            ending_before: now + LIFETIME - NEW_WITHIN,
            most: MOST_EVICTED,
        };
        let of_anybody = Self {
            followed_before: now + LIFETIME,
            ending_before: now + LIFETIME * 2,
            most: MOST_EVICTED_OF_AWAITED,
        };
        [of_nobody, of_anybody]
    }
}

/// How many logins wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingCounts {
    /// Of the machine key.
    pub machine: i64,
    /// Of the networks of the source, narrow to wide.
    pub networks: [i64; 3],
}

/// Refuses one more login of a machine and source that have enough.
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
