//! Addresses of nodes: an IPv4 address from the tailnet's pool, and the IPv6 address at the same place of its own.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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

    /// Returns the pair at a place, 1 for the first; `None` beyond the pools and where no node may be.
    pub fn pair_at(&self, place: u32) -> Option<AddressPair> {
        let ipv4 = Ipv4Addr::from(u32::from(self.ipv4.network()).checked_add(place)?);
        let ipv6 = Ipv6Addr::from(u128::from(self.ipv6.network()).checked_add(place.into())?);
        let inside = self.ipv4.contains(&ipv4) && ipv4 != self.ipv4.broadcast();
        (inside && self.ipv6.contains(&ipv6) && !is_reserved(ipv4))
            .then_some(AddressPair { ipv4, ipv6 })
    }

    /// Returns the first place from `next` on that may be given; `None` when there is none.
    pub fn next_place(&self, next: u32) -> Option<u32> {
        // Reserved addresses lie in three small blocks: a few steps at most lead past each.
        let last = self.last_place();
        let mut place = next.max(1);
        while place <= last {
            if self.pair_at(place).is_some() {
                return Some(place);
            }
            place += 1;
        }
        None
    }

    /// Returns the lowest place whose addresses are not in use, for a pool that was given out once.
    pub fn free_place(&self, used: &BTreeSet<IpAddr>) -> Option<u32> {
        (1..=self.last_place())
            .find(|place| self.pair_at(*place).is_some_and(|pair| is_free(pair, used)))
    }

    /// Returns the first free pair whose IPv4 address is in one of the prefixes that a policy wants, the first and the
    /// last of each included: there is no network to broadcast in.
    ///
    /// The IPv6 address is at the same place of the tailnet's own pool as it would be for the pool of all tailnets,
    /// beyond the places of the tailnet's IPv4 pool.
    pub fn free_pair_within(
        &self,
        wanted: &[Ipv4Net],
        used: &BTreeSet<IpAddr>,
    ) -> Option<AddressPair> {
        let all = |prefix: &Ipv4Net| u32::from(prefix.network())..=u32::from(prefix.broadcast());
        let mut addresses = wanted.iter().flat_map(all).map(Ipv4Addr::from);
        addresses.find_map(|ipv4| self.pair_for(ipv4).filter(|pair| is_free(*pair, used)))
    }

    /// Returns an IPv4 address that a policy wants, or that a node has already, with the IPv6 address that goes with it.
    pub fn pair_for(&self, ipv4: Ipv4Addr) -> Option<AddressPair> {
        let place = u32::from(ipv4).wrapping_sub(u32::from(self.ipv4.network()));
        // The first IPv6 address of a network is its routers'.
        if self.ipv4.contains(&ipv4)
            && place != 0
            && let Some(pair) = self.pair_at(place)
        {
            return Some(pair);
        }
        let beyond = (1 << 32) + u128::from(u32::from(ipv4));
        let ipv6 = Ipv6Addr::from(u128::from(self.ipv6.network()) + beyond);
        (self.ipv6.contains(&ipv6) && !is_reserved(ipv4)).then_some(AddressPair { ipv4, ipv6 })
    }

    fn last_place(&self) -> u32 {
        u32::from(self.ipv4.broadcast()) - u32::from(self.ipv4.network())
    }
}

fn is_free(pair: AddressPair, used: &BTreeSet<IpAddr>) -> bool {
    !used.contains(&pair.ipv4.into()) && !used.contains(&pair.ipv6.into())
}

/// Says whether clients or their systems use the address themselves (protocol section 8.1).
pub(crate) fn is_reserved(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    (a, b) == (100, 100) && (c == 0 || c == 100) || (a, b) == (100, 115) && (c == 92 || c == 93)
}

#[cfg(test)]
mod tests;
