//! Which addresses of headscale's nodes clients take as addresses of nodes.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Where clients take IPv4 addresses as addresses of nodes.
const IPV4: &str = "100.64.0.0/10";
/// Where they take IPv6 addresses as such.
const IPV6: &str = "fd7a:115c:a1e0::/48";

/// Says whether a node keeps its IPv4 address.
pub(super) fn keeps_ipv4(text: &str) -> bool {
    let (network, address) = (IPV4.parse::<Ipv4Net>(), text.parse::<Ipv4Addr>());
    matches!((network, address), (Ok(network), Ok(address)) if network.contains(&address))
}

/// Says whether a node keeps its IPv6 address.
pub(super) fn keeps_ipv6(text: &str) -> bool {
    let (network, address) = (IPV6.parse::<Ipv6Net>(), text.parse::<Ipv6Addr>());
    matches!((network, address), (Ok(network), Ok(address)) if network.contains(&address))
}
