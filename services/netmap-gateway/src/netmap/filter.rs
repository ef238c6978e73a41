//! Packet filters: what a class compiles to, as the rules of one node.
//!
//! Rules with the same sources are one named chunk, so that a change of who is in a source list touches one chunk.

use std::collections::BTreeMap;

use bowline_control_wire::{CapGrant, FilterRule, NetPortRange, PortRange};
use bowline_proto::policy::v1::{Class, Destination, FilterRule as Compiled, destination::Address};

use super::node::{addresses, cap_map};
use crate::tailnet::{Shown, View};

/// Named chunks, as a message carries them; `None` deletes one.
pub(crate) type Chunks = BTreeMap<String, Option<Vec<FilterRule>>>;

/// The chunk that is always there: an empty one says "nothing but what other chunks allow".
const BASE: &str = "base";

/// Returns every chunk of a node, and the word that deletes all others.
pub(crate) fn all(view: &View, shown: &Shown, class: &Class) -> Chunks {
    let mut chunks = some(view, shown, class, |_| true);
    chunks.insert(BASE.to_owned(), Some(Vec::new()));
    chunks
}

/// Returns the chunks of a node whose source list is wanted.
pub(crate) fn some(
    view: &View,
    shown: &Shown,
    class: &Class,
    wanted: impl Fn(u64) -> bool,
) -> Chunks {
    let mut chunks = Chunks::new();
    for compiled in class
        .filter
        .iter()
        .filter(|rule| wanted(rule.source_list_id))
    {
        let name = format!("{:016x}", compiled.source_list_id);
        let rules = chunks.entry(name).or_default().get_or_insert_default();
        rules.extend(rule(view, shown, compiled));
    }
    chunks
}

/// Returns chunks that replace whatever the client has.
pub(crate) fn replacing(chunks: Chunks) -> Chunks {
    let mut replacing = chunks;
    replacing.insert("*".to_owned(), None);
    replacing
}

/// Returns the rule as one node has it; `None` when nothing of it concerns the node.
pub(crate) fn rule(view: &View, shown: &Shown, compiled: &Compiled) -> Option<FilterRule> {
    let src_ips = view
        .source_lists
        .get(&compiled.source_list_id)?
        .addresses
        .clone();
    let dst_ports: Vec<_> = compiled
        .destinations
        .iter()
        .flat_map(|wanted| destination(shown, wanted))
        .collect();
    let cap_grant: Vec<_> = compiled
        .grants
        .iter()
        .map(|grant| {
            let own = if grant.own {
                addresses(shown)
            } else {
                Vec::new()
            };
            CapGrant {
                dsts: own
                    .into_iter()
                    .chain(grant.prefixes.iter().cloned())
                    .collect(),
                cap_map: cap_map(&grant.capabilities),
                ..CapGrant::default()
            }
        })
        .collect();
    if dst_ports.is_empty() && cap_grant.is_empty() {
        return None;
    }
    // Without sources a rule allows nothing; an application grant keeps its place all the same.
    if src_ips.is_empty() && cap_grant.is_empty() {
        return None;
    }
    let ip_proto = compiled.protocols.clone();
    Some(FilterRule {
        src_ips,
        dst_ports,
        ip_proto,
        cap_grant,
        ..FilterRule::default()
    })
}

fn destination(shown: &Shown, wanted: &Destination) -> Vec<NetPortRange> {
    let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let ports = PortRange {
        first: port(wanted.first_port),
        last: port(wanted.last_port),
    };
    let range = |ip: &String| NetPortRange {
        ip: ip.clone(),
        ports,
        ..NetPortRange::default()
    };
    match &wanted.address {
        Some(Address::Literal(text)) => vec![range(text)],
        Some(Address::Own(_)) => {
            let families = [(&shown.node.ipv4, 1), (&shown.node.ipv6, 2)];
            let wanted_families = if wanted.families == 0 {
                3
            } else {
                wanted.families
            };
            families
                .into_iter()
                .filter(|(address, family)| !address.is_empty() && wanted_families & family != 0)
                .map(|(address, _)| range(address))
                .collect()
        }
        None => Vec::new(),
    }
}
