//! Lists of networks that devices and people may come from. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// The narrowest IPv6 network: of where somebody comes from, no more is kept.
const NARROWEST_IPV6: u8 = 64;

/// Reads a network, or an address, which is a network of one; what is returned has no bits behind its prefix.
///
/// # Errors
///
/// What is wrong with it, as the end of a sentence that names the field.
pub fn read_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().map(|network| network.trunc());
    let address = |_| text.parse::<IpAddr>().map(IpNet::from);
    let network = network.or_else(address).map_err(|_| {
        let shown = text.escape_debug();
        format!("\"{shown}\" is no network such as 192.0.2.0/24")
    })?;
    if network.addr().is_ipv6() && network.prefix_len() > NARROWEST_IPV6 {
        return Err(format!(
            "\"{network}\" is narrower than a /{NARROWEST_IPV6}, and of an IPv6 address no more is looked at: give its /{NARROWEST_IPV6}"
        ));
    }
    Ok(network)
}

/// Says whether an address lies in one of the networks, which are texts that [`read_network`] takes. What is no address
/// lies in none.
#[must_use]
pub fn networks_include(networks: &[String], address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let address = address.to_canonical();
    let networks = networks.iter().filter_map(|text| read_network(text).ok());
    networks
        .into_iter()
        .any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests;
