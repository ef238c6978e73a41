//! Addresses of nodes: an IPv4 address from the tailnet's pool, and the IPv6 address at the same place of its own.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use ipnet::{Ipv4Net, Ipv6Net};

/// The addresses of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPair {
    /// From the tailnet's IPv4 pool, or one that a policy wants.
    pub ipv4: Ipv4Addr,
    /// From the tailnet's IPv6 pool.
    pub ipv6: Ipv6Addr,
}

/// IPv4 addresses that lie side by side, as numbers.
pub type AddressRange = Range<u64>;

/// A tailnet's pools.
#[derive(Clone, Copy, Debug)]
pub struct AddressPool {
    ipv4: Ipv4Net,
    ipv6: Ipv6Net,
}

impl AddressPool {
    /// Reads the pools; `None` when they are not prefixes.
    pub fn parse(ipv4: &str, ipv6: &str) -> Option<Self> {
        Some(Self {
            ipv4: ipv4.parse().ok()?,
            ipv6: ipv6.parse().ok()?,
        })
    }

    /// Returns the IPv4 pool.
    pub fn ipv4(&self) -> Ipv4Net {
        self.ipv4
    }

    /// Returns where a free address is looked for: in the pool from a place on, 1 for the first, and then before it.
    pub fn ranges_from(&self, place: u32) -> [AddressRange; 2] {
        let (network, end) = (self.network(), u64::from(u32::from(self.ipv4.broadcast())));
        let first = network + 1;
        let begin = first.max(network + u64::from(place));
        [begin..end, first..begin.min(end)]
    }

    /// Returns the place behind the address of a node.
    pub fn place_behind(&self, ipv4: Ipv4Addr) -> u32 {
        let place = u64::from(u32::from(ipv4)).saturating_sub(self.network()) + 1;
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// Returns the first pair of a range that may be given, in use or not.
    pub fn first_pair(&self, mut range: AddressRange) -> Option<AddressPair> {
        // Reserved addresses lie in three small blocks: a few steps at most lead past each.
        range.find_map(|number| self.pair_for(Ipv4Addr::from(u32::try_from(number).ok()?)))
    }

    /// Returns the first pair of some ranges that may be given, in use or not.
    pub fn first_pair_of(&self, ranges: &[AddressRange]) -> Option<AddressPair> {
        ranges
            .iter()
            .find_map(|range| self.first_pair(range.clone()))
    }

    /// Returns an IPv4 address with the IPv6 address that goes with it; `None` where no node may be.
    ///
    /// The IPv6 address is at the same place of the tailnet's own pool. For an IPv4 address that a policy wants elsewhere it is
    /// where it would be for the pool of all tailnets, beyond the places of the tailnet's IPv4 pool.
    pub fn pair_for(&self, ipv4: Ipv4Addr) -> Option<AddressPair> {
        let place = u32::from(ipv4).wrapping_sub(u32::from(self.ipv4.network()));
        // The first IPv6 address of a network is its routers', and at the last IPv4 address of the pool no node is.
        let is_inside = self.ipv4.contains(&ipv4) && place != 0 && ipv4 != self.ipv4.broadcast();
        let ipv6_place = match is_inside {
            true => u128::from(place),
            false => (1 << 32) + u128::from(u32::from(ipv4)),
        };
        let ipv6 = Ipv6Addr::from(u128::from(self.ipv6.network()).saturating_add(ipv6_place));
        (self.ipv6.contains(&ipv6) && !is_reserved(ipv4)).then_some(AddressPair { ipv4, ipv6 })
    }

    fn network(&self) -> u64 {
        u32::from(self.ipv4.network()).into()
    }
}

/// Returns where a free address is looked for: in the prefixes that a policy wants, the first address and the last of each
/// included, because there is no network to broadcast in; first behind the address that was given last, then before it.
///
/// Example: behind 10.0.1.7, for 10.0.0.0/24, 10.0.1.0/24 and 10.0.2.0/24: 10.0.1.8 to 10.0.1.255, 10.0.2.0/24, 10.0.0.0/24,
/// 10.0.1.0 to 10.0.1.7.
pub fn wanted_ranges(wanted: &[Ipv4Net], last_given: Option<Ipv4Addr>) -> Vec<AddressRange> {
    let number = |address| u64::from(u32::from(address));
    let range = |prefix: &Ipv4Net| number(prefix.network())..number(prefix.broadcast()) + 1;
    let mut ranges: Vec<_> = wanted.iter().map(range).collect();
    let behind = last_given.map(|given| number(given) + 1);
    let begun = behind.and_then(|behind| {
        let has_given = |range: &AddressRange| range.contains(&(behind - 1));
        Some((behind, ranges.iter().position(has_given)?))
    });
    if let Some((behind, place)) = begun {
        ranges.rotate_left(place);
        if let Some(first) = ranges.first_mut() {
            let before = first.start..behind;
            first.start = behind;
            ranges.push(before);
        }
    }
    ranges
}

/// Says whether clients or their systems use the address themselves (protocol section 8.1).
pub(crate) fn is_reserved(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    (a, b) == (100, 100) && (c == 0 || c == 100) || (a, b) == (100, 115) && (c == 92 || c == 93)
}

#[cfg(test)]
mod tests;
