//! Turns the newest form of a message into what an older client needs (protocol section 7.7).
//!
//! Every client ignores members it does not know. So a message is changed only where an older client would misread it
//! or lacks a member. Messages for current clients stay as they are.

use crate::{CapGrant, CapabilityVersion as Cap, FilterRule, MapResponse, NetPortRange, Node};

/// TCP, UDP, ICMP, ICMPv6: what a rule without protocols is for.
const DEFAULT_PROTOCOLS: [u32; 4] = [6, 17, 1, 58];

/// Says whether every message has to be complete: deltas are not understood, or only in part.
#[must_use]
pub fn needs_full_messages(version: Cap) -> bool {
    version < Cap::NODE_UNCHANGED
}

/// Says whether each message is a whole netmap for this client, which makes frequent messages expensive.
#[must_use]
pub fn is_paced(version: Cap) -> bool {
    needs_full_messages(version)
}

/// Says whether a peer may be changed field by field; below, it is sent whole.
#[must_use]
pub fn takes_patches(version: Cap) -> bool {
    version >= Cap::WIDE_PATCH
}

/// Says whether a filter may be changed chunk by chunk; below, it is sent whole.
#[must_use]
pub fn takes_filter_chunks(version: Cap) -> bool {
    version >= Cap::PACKET_FILTERS
}

/// Says whether filter rules may name sources by a capability (`cap:`).
#[must_use]
pub fn takes_capability_sources(version: Cap) -> bool {
    version >= Cap::CAP_SOURCES
}

/// Says whether [`adapt_message`] leaves messages for this client as they are.
#[must_use]
pub fn is_current(version: Cap) -> bool {
    version >= Cap::DISPLAY_MESSAGES
}

/// Changes a message into what a client of this version needs.
pub fn adapt_message(message: &mut MapResponse, version: Cap) {
    if is_current(version) {
        return;
    }
    let nodes = message
        .node
        .iter_mut()
        .chain(&mut message.peers)
        .chain(&mut message.peers_changed);
    nodes.for_each(|node| adapt_node(node, version));
    if version < Cap::PATCH_CAP_MAP {
        for change in &mut message.peers_changed_patch {
            change.capabilities = change
                .cap_map
                .take()
                .map(|listed| listed.into_keys().collect());
        }
    }
    if version < Cap::EXPIRED {
        remove_expired(message);
    }
    adapt_filter(message, version);
    adapt_dns(message, version);
    if version < Cap::ONLINE {
        message.online_change.clear();
    }
    if version < Cap::PING {
        message.ping_request = None;
    }
    if version < Cap::SSH_POLICY {
        message.ssh_policy = None;
    }
    adapt_health(message, version);
    if version < Cap::NO_MEASURE
        && let Some(map) = &mut message.derp_map
    {
        map.regions.retain(|_, region| !region.no_measure_no_home);
    }
    if version < Cap::CERTIFICATE_HASH
        && let Some(map) = &mut message.derp_map
    {
        let nodes = map
            .regions
            .values_mut()
            .flat_map(|region| &mut region.nodes);
        // These clients would compare the hash with the name in the certificate, and refuse the relay.
        for node in nodes.filter(|node| node.cert_name.starts_with("sha256-raw:")) {
            node.cert_name.clear();
        }
    }
}

fn adapt_node(node: &mut Node, version: Cap) {
    if version < Cap::HOME_DERP && node.home_derp != 0 {
        node.derp = Some(format!("127.3.3.40:{}", node.home_derp));
    }
    if version < Cap::CAP_MAP {
        node.capabilities = node.cap_map.keys().cloned().collect();
    }
    if version < Cap::IPV6 {
        node.addresses.retain(|prefix| !prefix.contains(':'));
        node.allowed_ips.retain(|prefix| !prefix.contains(':'));
    }
    if version < Cap::ONLINE {
        node.online = None;
    }
}

fn remove_expired(message: &mut MapResponse) {
    message.peers.retain(|peer| !peer.expired);
    let gone = message
        .peers_changed
        .iter()
        .filter(|peer| peer.expired)
        .map(|peer| peer.id);
    message.peers_removed.extend(gone.collect::<Vec<_>>());
    message.peers_changed.retain(|peer| !peer.expired);
}

fn adapt_filter(message: &mut MapResponse, version: Cap) {
    if version < Cap::CAP_SOURCES {
        let chunks = message.packet_filters.values_mut().flatten();
        chunks
            .chain(&mut message.packet_filter)
            .for_each(remove_capability_sources);
    }
    if version >= Cap::PACKET_FILTERS {
        return;
    }
    if !message.packet_filters.is_empty() {
        // Clients without chunks are always sent the whole filter, so this replaces what they have.
        let chunks = std::mem::take(&mut message.packet_filters);
        message.packet_filter = Some(chunks.into_values().flatten().flatten().collect());
    }
    if let Some(rules) = &mut message.packet_filter {
        if version < Cap::CAP_GRANT {
            rules.retain(|rule| rule.cap_grant.is_empty());
        }
        if version < Cap::IP_PROTO {
            // A rule without protocols allows all of these. Removing a shorter list would make the rule allow more.
            let is_default = |rule: &FilterRule| {
                DEFAULT_PROTOCOLS
                    .iter()
                    .all(|number| rule.ip_proto.contains(number))
            };
            rules.retain(|rule| rule.ip_proto.is_empty() || is_default(rule));
        }
        rules.iter_mut().for_each(|rule| adapt_rule(rule, version));
        if version < Cap::IPV6 {
            rules.retain(|rule| !rule.src_ips.is_empty() && !rule.dst_ports.is_empty());
        }
    }
}

/// Removes the sources that name a capability, and rules that have no source left: an older client would ignore
/// them, or refuse the whole filter.
fn remove_capability_sources(rules: &mut Vec<FilterRule>) {
    rules.retain_mut(|rule| {
        let before = rule.src_ips.len();
        rule.src_ips.retain(|source| !source.starts_with("cap:"));
        before == rule.src_ips.len() || !rule.src_ips.is_empty()
    });
}

fn adapt_rule(rule: &mut FilterRule, version: Cap) {
    if version < Cap::GRANT_CAP_MAP {
        rule.cap_grant.iter_mut().for_each(|grant: &mut CapGrant| {
            grant.caps = grant.cap_map.keys().cloned().collect();
        });
    }
    if version < Cap::IP_PROTO {
        rule.ip_proto.clear();
    }
    if version < Cap::IPV6 {
        rule.src_ips.retain(|source| !source.contains(':'));
        rule.dst_ports
            .retain(|destination| !destination.ip.contains(':'));
    }
    if version < Cap::FILTER_PREFIXES {
        split_prefixes(rule);
    }
}

/// Writes prefixes as addresses with a parallel list of lengths; ranges were not understood then.
fn split_prefixes(rule: &mut FilterRule) {
    let sources = std::mem::take(&mut rule.src_ips);
    for source in sources
        .into_iter()
        .flat_map(|source| crate::text::split_into_prefixes(&source))
    {
        let (address, bits) = split_prefix(source);
        rule.src_ips.push(address);
        rule.src_bits.push(bits);
    }
    let destinations = std::mem::take(&mut rule.dst_ports);
    for destination in destinations {
        for prefix in crate::text::split_into_prefixes(&destination.ip) {
            let (ip, bits) = split_prefix(prefix);
            let bits = (ip != "*").then_some(bits);
            rule.dst_ports.push(NetPortRange {
                ip,
                bits,
                ports: destination.ports,
            });
        }
    }
}

fn split_prefix(text: String) -> (String, u8) {
    match text.split_once('/') {
        _ if text == "*" || text == "0.0.0.0/0" => ("*".to_owned(), 0),
        Some((address, bits)) => (address.to_owned(), bits.parse().unwrap_or(32)),
        None => (text, 32),
    }
}

fn adapt_dns(message: &mut MapResponse, version: Cap) {
    let Some(dns) = &mut message.dns_config else {
        return;
    };
    if version < Cap::EXTRA_RECORDS {
        dns.extra_records.clear();
    }
    if version < Cap::EMPTY_DNS_ROUTES {
        dns.routes.retain(|_, resolvers| !resolvers.is_empty());
    }
    if version < Cap::DNS_RESOLVERS {
        let addresses = dns.resolvers.iter().map(|resolver| &resolver.addr);
        let plain = addresses.filter(|address| address.parse::<std::net::IpAddr>().is_ok());
        dns.nameservers = plain.cloned().collect();
        dns.resolvers.clear();
        dns.routes.clear();
    }
    if version < Cap::DNS_CONFIG {
        message.dns = std::mem::take(&mut dns.nameservers);
        message.search_paths = std::mem::take(&mut dns.domains);
        message.dns_config = None;
    }
}

fn adapt_health(message: &mut MapResponse, version: Cap) {
    let messages = std::mem::take(&mut message.display_messages);
    if version >= Cap::HEALTH && !messages.is_empty() {
        message.health = Some(
            messages
                .into_values()
                .flatten()
                .map(|shown| shown.text)
                .collect(),
        );
    }
}

#[cfg(test)]
mod tests;
