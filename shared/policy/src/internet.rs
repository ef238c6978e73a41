//! The addresses of the internet, and those that `*` means as a source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bowline_ip_set::{IpRange, IpSet};

const fn ipv4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn ipv6(first: u16, fill: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(
        first, fill, fill, fill, fill, fill, fill, fill,
    ))
}

/// Public addresses, in the order in which filters have them (policy section 4.4).
pub(crate) static RANGES: std::sync::LazyLock<Vec<IpRange>> = std::sync::LazyLock::new(|| {
    let bounds = [
        (ipv4(0, 0, 0, 0), ipv4(9, 255, 255, 255)),
        (ipv4(11, 0, 0, 0), ipv4(100, 63, 255, 255)),
        (ipv4(100, 128, 0, 0), ipv4(169, 253, 255, 255)),
        (ipv4(169, 255, 0, 0), ipv4(172, 15, 255, 255)),
        (ipv4(172, 32, 0, 0), ipv4(192, 167, 255, 255)),
        (ipv4(192, 169, 0, 0), ipv4(255, 255, 255, 255)),
        (ipv6(0x2000, 0), ipv6(0x3fff, 0xffff)),
    ];
    bounds
        .iter()
        .filter_map(|(low, high)| IpRange::new(*low, *high))
        .collect()
});

/// Public addresses as filters write them.
pub(crate) const TEXTS: [&str; 7] = [
    "0.0.0.0-9.255.255.255",
    "11.0.0.0-100.63.255.255",
    "100.128.0.0-169.253.255.255",
    "169.255.0.0-172.15.255.255",
    "172.32.0.0-192.167.255.255",
    "192.169.0.0-255.255.255.255",
    "2000::-3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// The addresses that `*` means as a source, besides the tailnet's routes (policy section 4.3).
pub(crate) const ANY: [&str; 3] = [
    "100.64.0.0-100.115.91.255",
    "100.115.94.0-100.127.255.255",
    "fd7a:115c:a1e0::/48",
];

/// Says whether every address of a range is public.
pub(crate) fn is_public(range: &IpRange) -> bool {
    RANGES.iter().any(|public| public.covers(range))
}

/// Says whether ranges cover the internet: one of the two default routes, or all public addresses.
pub(crate) fn is_covered_by(ranges: &[IpRange]) -> bool {
    if ranges.iter().any(|range| {
        range
            .prefix()
            .is_some_and(|prefix| prefix.prefix_len() == 0)
    }) {
        return true;
    }
    let set: IpSet = ranges.iter().copied().collect();
    RANGES.iter().all(|public| set.covers(public))
}

#[cfg(test)]
mod tests;
