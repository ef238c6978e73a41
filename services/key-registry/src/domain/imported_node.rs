//! What of another server's node is taken over, and in which form.

use std::net::{Ipv4Addr, Ipv6Addr};

use bowline_proto::key_registry::v1::{ImportedNode, Node, SoftState, TaggedBy};
use chrono::{DateTime, Utc};
use ipnet::{Ipv4Net, Ipv6Net};

use super::{address_pool::is_reserved, from_timestamp, hostname, routes, tags};
use crate::error::RegistryError;

/// Where clients take addresses as addresses of nodes (protocol section 8.1).
const NODE_ADDRESSES: (&str, &str) = ("100.64.0.0/10", "fd7a:115c:a1e0::/48");
/// The most endpoints that are kept of a client.
const MOST_ENDPOINTS: usize = 64;
/// The longest description of a host.
const LONGEST_HOSTINFO: usize = 64 << 10;
/// The longest text that a host says of itself, such as its name.
const LONGEST_TEXT: usize = 256;

/// Returns the node with the fields that are taken over, each checked and in one spelling. It has no number yet, and no
/// address where the other server gave none.
pub fn check_node(
    imported: ImportedNode,
    tailnet_id: u64,
    now: DateTime<Utc>,
) -> Result<(Node, SoftState), RegistryError> {
    let given = imported.node.unwrap_or_default();
    check_key("machine_key", &given.machine_key)?;
    check_key("node_key", &given.node_key)?;
    hostname::check_label(&given.name)?;
    let tags = tags::canonical_tags(given.tags)?;
    if tags.is_empty() && given.user_id == 0 {
        let problem = format!("\"{}\" has neither a user nor tags", given.name);
        return Err(RegistryError::invalid("user_id", problem));
    }
    let tagged_by = match tags.is_empty() {
        true => TaggedBy::Unspecified,
        false => TaggedBy::Administrator,
    };
    let mut node = Node {
        tailnet_id,
        machine_key: given.machine_key,
        node_key: given.node_key,
        user_id: given.user_id,
        tags,
        tagged_by: tagged_by.into(),
        name: given.name,
        name_chosen: given.name_chosen,
        ipv4: check_ipv4(&given.ipv4)?,
        ipv6: check_ipv6(&given.ipv6)?,
        advertised_routes: routes::canonical_routes(&given.advertised_routes)?,
        key_expiry: given.key_expiry,
        expired: given
            .key_expiry
            .and_then(from_timestamp)
            .is_some_and(|end| end <= now),
        approved: true,
        ephemeral: given.ephemeral,
        hostname: check_text("hostname", given.hostname)?,
        os: check_text("os", given.os)?,
        client_version: check_text("client_version", given.client_version)?,
        requested_tags: given.requested_tags,
        created_at: given.created_at,
        ..Node::default()
    };
    if node.requested_tags.len() > LONGEST_TEXT {
        return Err(RegistryError::invalid("requested_tags", "are too many"));
    }
    let approved = routes::canonical_routes(&given.approved_routes)?;
    routes::approve_by_administrator(&mut node, routes::with_both_exit_routes(approved));
    Ok((node, check_state(imported.state.unwrap_or_default())?))
}

/// Says whether a node that is here is the one that is imported: the same machine has the same key.
pub fn is_same(present: &Node, imported: &Node) -> bool {
    (present.tailnet_id, &present.machine_key, &present.node_key)
        == (
            imported.tailnet_id,
            &imported.machine_key,
            &imported.node_key,
        )
}

fn check_state(given: SoftState) -> Result<SoftState, RegistryError> {
    if !given.disco_key.is_empty() {
        check_key("disco_key", &given.disco_key)?;
    }
    let is_address = |text: &str| text.parse::<std::net::SocketAddr>().is_ok();
    let endpoints = &given.endpoints;
    if endpoints.len() > MOST_ENDPOINTS || !endpoints.iter().all(|one| is_address(&one.address)) {
        let problem = format!("are at most {MOST_ENDPOINTS} of the form address:port");
        return Err(RegistryError::invalid("endpoints", problem));
    }
    if given.hostinfo.len() > LONGEST_HOSTINFO {
        return Err(RegistryError::invalid("hostinfo", "is longer than 64 KiB"));
    }
    Ok(SoftState {
        disco_key: given.disco_key,
        endpoints: given.endpoints,
        home_derp: given.home_derp,
        hostinfo: given.hostinfo,
        last_seen: given.last_seen,
        ..SoftState::default()
    })
}

fn check_key(field: &'static str, key: &[u8]) -> Result<(), RegistryError> {
    if key.len() != 32 || key.iter().all(|byte| *byte == 0) {
        return Err(RegistryError::invalid(field, "is not 32 bytes of a key"));
    }
    Ok(())
}

fn check_text(field: &'static str, text: String) -> Result<String, RegistryError> {
    if text.len() > LONGEST_TEXT {
        let problem = format!("is longer than {LONGEST_TEXT} bytes");
        return Err(RegistryError::invalid(field, problem));
    }
    Ok(text)
}

fn check_ipv4(text: &str) -> Result<String, RegistryError> {
    let (inside, _) = NODE_ADDRESSES;
    let network: Option<Ipv4Net> = inside.parse().ok();
    let address: Option<Ipv4Addr> = text.parse().ok();
    match (address, network) {
        _ if text.is_empty() => Ok(String::new()),
        (Some(address), Some(network)) if network.contains(&address) && !is_reserved(address) => {
            Ok(address.to_string())
        }
        _ => Err(outside("ipv4", text, inside)),
    }
}

fn check_ipv6(text: &str) -> Result<String, RegistryError> {
    let (_, inside) = NODE_ADDRESSES;
    let network: Option<Ipv6Net> = inside.parse().ok();
    let address: Option<Ipv6Addr> = text.parse().ok();
    match (address, network) {
        _ if text.is_empty() => Ok(String::new()),
        (Some(address), Some(network)) if network.contains(&address) => Ok(address.to_string()),
        _ => Err(outside("ipv6", text, inside)),
    }
}

fn outside(field: &'static str, text: &str, inside: &str) -> RegistryError {
    let text = text.escape_debug();
    RegistryError::invalid(field, format!("\"{text}\" is no address in {inside}"))
}

#[cfg(test)]
mod tests;
