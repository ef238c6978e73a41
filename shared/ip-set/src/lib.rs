//! Sets of IP addresses as sorted ranges, and their text forms in packet filters.
//!
//! A filter element is a single address, a prefix, a range `low-high`, or `*` (policy reference section 4.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The addresses from `low` to `high`, both included, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    low: IpAddr,
    high: IpAddr,
}

impl IpRange {
    /// Returns the range of two addresses; `None` when they are of different families or in the wrong order.
    #[must_use]
    pub fn new(low: IpAddr, high: IpAddr) -> Option<Self> {
        (low.is_ipv4() == high.is_ipv4() && low <= high).then_some(Self { low, high })
    }

    /// Says whether an address lies inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.low.is_ipv4() && self.low <= address && address <= self.high
    }

    /// Says whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low.is_ipv4() == other.low.is_ipv4()
            && self.low <= other.high
            && other.low <= self.high
    }

    /// Says whether every address of the other lies inside.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.contains(other.low) && self.contains(other.high)
    }
}

impl From<IpNet> for IpRange {
    fn from(prefix: IpNet) -> Self {
        Self {
            low: prefix.network(),
            high: prefix.broadcast(),
        }
    }
}

impl From<IpAddr> for IpRange {
    fn from(address: IpAddr) -> Self {
        Self {
            low: address,
            high: address,
        }
    }
}

/// A set of addresses: ranges in order that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet(Vec<IpRange>);

impl IpSet {
    /// Says whether an address is in the set.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }

    /// Says whether a range has an address in common with the set.
    #[must_use]
    pub fn overlaps(&self, range: &IpRange) -> bool {
        self.0.iter().any(|own| own.overlaps(range))
    }

    /// Says whether every address of a range is in the set.
    #[must_use]
    pub fn covers(&self, range: &IpRange) -> bool {
        self.0.iter().any(|own| own.covers(range))
    }

    /// Returns the ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = &IpRange> {
        self.0.iter()
    }
}

impl FromIterator<IpRange> for IpSet {
    fn from_iter<I: IntoIterator<Item = IpRange>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort();
        let mut merged: Vec<IpRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.overlaps(&range) || next(last.high) == Some(range.low) => {
                    last.high = last.high.max(range.high);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

/// Returns the address after this one in its family.
fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address)
            .checked_add(1)
            .map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(address) => u128::from(address)
            .checked_add(1)
            .map(|n| Ipv6Addr::from(n).into()),
    }
}

/// Returns a prefix as a filter has it: a single address without its length.
#[must_use]
pub fn prefix_text(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.trunc().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IpRange {
        text.parse::<IpNet>().expect("a prefix").into()
    }

    #[test]
    fn touching_and_overlapping_ranges_become_one() {
        let set: IpSet = ["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "fd7a::/64"]
            .map(range)
            .into_iter()
            .collect();
        assert_eq!(set.ranges().count(), 2);
        assert!(set.covers(&range("10.0.0.0/23")) && !set.covers(&range("10.0.0.0/22")));
        assert!(set.overlaps(&range("10.0.0.0/8")) && !set.overlaps(&range("11.0.0.0/8")));
        assert!(set.contains("fd7a::1".parse().expect("an address")));
    }

    #[test]
    fn single_addresses_are_written_without_length() {
        for (prefix, text) in [
            ("10.1.2.3/32", "10.1.2.3"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("fd7a::1/128", "fd7a::1"),
        ] {
            assert_eq!(prefix_text(&prefix.parse().expect("a prefix")), text);
        }
    }
}
