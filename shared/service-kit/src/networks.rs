//! What counts as one source: networks of three widths around an address. Pure.
//!
//! One customer of an IPv6 provider has a /64, a /56 or a /48, and so as many addresses and /64s as he likes. IPv4 addresses
//! are scarce, but a hosting provider rents neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many widths there are.
const WIDTHS: usize = 3;
/// The widths of IPv4 networks, widest first, and the part of a whole that each may have.
const V4: [(u8, usize); WIDTHS] = [(16, 4), (24, 16), (32, 64)];
/// The same of IPv6 networks: all of them are what one customer may have.
const V6: [(u8, usize); WIDTHS] = [(48, 64), (56, 64), (64, 64)];

/// A network that is counted as one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// All addresses there are.
    pub const ALL: Self = Self {
        first: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        bits: 0,
    };

    /// Returns the networks an address is counted in, widest first.
    #[must_use]
    pub fn around(address: IpAddr) -> [Self; WIDTHS] {
        match address.to_canonical() {
            IpAddr::V4(address) => V4.map(|(bits, _)| Self {
                first: Ipv4Addr::from_bits(
                    address.to_bits() & !(u32::MAX.unbounded_shr(bits.into())),
                )
                .into(),
                bits,
            }),
            IpAddr::V6(address) => V6.map(|(bits, _)| Self {
                first: Ipv6Addr::from_bits(
                    address.to_bits() & !(u128::MAX.unbounded_shr(bits.into())),
                )
                .into(),
                bits,
            }),
        }
    }

    /// Returns the narrowest network that is one source: an IPv4 address, or the /64 an IPv6 address is in.
    #[must_use]
    pub fn narrowest(address: IpAddr) -> Self {
        let [.., narrowest] = Self::around(address);
        narrowest
    }

    /// Returns the first address of the network.
    #[must_use]
    pub const fn first_address(self) -> IpAddr {
        self.first
    }

    /// Returns the most that this network may have of something of which there are `all`, but at least `least`.
    #[must_use]
    pub fn share_of(self, all: usize, least: usize) -> usize {
        let widths = match self.first {
            IpAddr::V4(_) => V4,
            IpAddr::V6(_) => V6,
        };
        let part = widths.iter().find(|(bits, _)| *bits == self.bits);
        part.map_or(all, |(_, part)| (all / part).max(least))
    }
}

#[cfg(test)]
mod tests;
