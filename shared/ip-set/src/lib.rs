//! Sets of IP addresses as sorted ranges, and their text forms in packet filters.
//!
//! A filter element is a single address, a prefix, a range `low-high`, or `*` (policy section 4.6).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

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

    /// Returns the first address.
    #[must_use]
    pub fn low(&self) -> IpAddr {
        self.low
    }

    /// Returns the last address.
    #[must_use]
    pub fn high(&self) -> IpAddr {
        self.high
    }

    /// Says whether it is the one address.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.low == self.high
    }

    /// Returns the prefix with exactly these addresses, if there is one.
    #[must_use]
    pub fn prefix(&self) -> Option<IpNet> {
        let common = match (self.low, self.high) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                (u32::from(low) ^ u32::from(high)).leading_zeros()
            }
            (IpAddr::V6(low), IpAddr::V6(high)) => {
                (u128::from(low) ^ u128::from(high)).leading_zeros()
            }
            _ => return None,
        };
        let prefix = IpNet::new(self.low, u8::try_from(common).ok()?).ok()?;
        (Self::from(prefix) == *self).then_some(prefix)
    }
}

/// Writes the form of packet filters: a single address, a prefix, or `low-high`.
impl fmt::Display for IpRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            return self.low.fmt(formatter);
        }
        match self.prefix() {
            Some(prefix) => prefix.fmt(formatter),
            None => write!(formatter, "{}-{}", self.low, self.high),
        }
    }
}

/// Why a text is no range: it is neither an address, nor a prefix, nor `low-high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARange;

/// Reads an address, a prefix (host bits are cut off) or `low-high`.
impl FromStr for IpRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        if let Ok(prefix) = text.parse::<IpNet>() {
            return Ok(prefix.into());
        }
        let (low, high) = text.split_once('-').ok_or(NotARange)?;
        let address = |text: &str| text.trim().parse().map_err(|_| NotARange);
        Self::new(address(low)?, address(high)?).ok_or(NotARange)
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

    /// Removes the addresses of a range.
    pub fn remove(&mut self, taken: &IpRange) {
        let cut = |range: &IpRange| {
            if !range.overlaps(taken) {
                return [Some(*range), None];
            }
            let below = previous_address(taken.low).and_then(|high| IpRange::new(range.low, high));
            let above = next_address(taken.high).and_then(|low| IpRange::new(low, range.high));
            [below, above]
        };
        self.0 = self.0.iter().flat_map(cut).flatten().collect();
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
                Some(last)
                    if last.overlaps(&range) || next_address(last.high) == Some(range.low) =>
                {
                    last.high = last.high.max(range.high);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

/// Returns the address after this one in its family.
fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address)
            .checked_add(1)
            .map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(address) => u128::from(address)
            .checked_add(1)
            .map(|n| Ipv6Addr::from(n).into()),
    }
}

/// Returns the address before this one in its family.
fn previous_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address)
            .checked_sub(1)
            .map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(address) => u128::from(address)
            .checked_sub(1)
            .map(|n| Ipv6Addr::from(n).into()),
    }
}

/// Returns the form of packet filters: a prefix, or a single address without a length.
#[must_use]
pub fn prefix_text(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.trunc().to_string()
    }
}

#[cfg(test)]
mod tests;
