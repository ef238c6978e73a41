//! Packet filters: what a class compiles to, as the rules of one node.
//!
//! Rules with the same sources are one named chunk, so that a change of who is in a source list touches one chunk.

use std::{collections::BTreeMap, sync::Arc};

use bowline_control_wire::{CapGrant, FilterRule, NetPortRange, PortRange};
use bowline_proto::policy::v1::{
    CapGrant as Granted, Destination, FilterRule as CompiledRule, destination::Address,
};

use super::{
    node::{addresses, cap_map, source_capability},
    viewer::Viewer,
};
use crate::{FilterSources, ShownNode, SourceListKey};

/// Named chunks, as a message carries them; `None` deletes one.
pub(crate) type Chunks = BTreeMap<String, Option<Vec<FilterRule>>>;

/// The chunk that is always there: an empty one says "nothing but what other chunks allow".
const BASE: &str = "base";

/// Returns every chunk of a node.
pub(crate) fn all_chunks(viewer: Viewer<'_>) -> Chunks {
    let mut chunks = chunks_where(viewer, |_| true);
    chunks.extend(deny_all());
    chunks
}

/// Returns the chunk of a node that nobody may reach.
pub(crate) fn deny_all() -> Chunks {
    Chunks::from([(BASE.to_owned(), Some(Vec::new()))])
}

/// Returns the chunks of a node whose source list is wanted.
pub(crate) fn chunks_where(viewer: Viewer<'_>, wanted: impl Fn(SourceListKey) -> bool) -> Chunks {
    let mut chunks = Chunks::new();
    let common = viewer.at.view.compiled.common_filter.iter();
    for compiled in common.chain(&viewer.class.filter) {
        if !wanted(list_key(viewer.own, compiled)) {
            continue;
        }
        let name = format!("{:016x}", compiled.source_list_id);
        let rules = chunks.entry(name).or_default().get_or_insert_default();
        rules.extend(filter_rule(viewer, compiled));
    }
    chunks
}

/// Returns the source list of a rule, for one node.
fn list_key(shown: &ShownNode, compiled: &CompiledRule) -> SourceListKey {
    let user = shown.user().filter(|_| compiled.per_user);
    SourceListKey {
        list: compiled.source_list_id,
        user,
    }
}

/// Returns chunks that replace whatever the client has.
pub(crate) fn replace_all(chunks: Chunks) -> Chunks {
    let mut replacing = chunks;
    replacing.insert("*".to_owned(), None);
    replacing
}

/// Returns the rule as one node has it; `None` when nothing of it concerns the node.
fn filter_rule(viewer: Viewer<'_>, compiled: &CompiledRule) -> Option<FilterRule> {
    let src_ips = source_texts(viewer, list_key(viewer.own, compiled));
    let dst_ports: Vec<_> = compiled
        .destinations
        .iter()
        .flat_map(|wanted| destination_ranges(viewer.own, wanted))
        .collect();
    let granted = compiled
        .grants
        .iter()
        .map(|granted| cap_grant(viewer.own, granted));
    let cap_grant: Vec<_> = granted.collect();
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

/// Returns the elements of a source list, without nodes that may not take part; peers among them by their capability
/// where filters name them so.
fn source_texts(viewer: Viewer<'_>, key: SourceListKey) -> Vec<String> {
    let view = viewer.at.view;
    let Some(list) = view.compiled.lists.get(&key) else {
        return Vec::new();
    };
    let is_own = |element: &str| viewer.own.addresses().any(|address| address == element);
    let is_written = |element: &&Arc<str>| match view.sources {
        FilterSources::Addresses => view.may_name(element) || is_own(element),
        FilterSources::Capabilities => {
            !view.node_by_address.contains_key(*element) || is_own(element)
        }
    };
    let mut sources: Vec<_> = list
        .iter()
        .filter(is_written)
        .map(ToString::to_string)
        .collect();
    if view.sources == FilterSources::Capabilities {
        sources.push(format!("cap:{}", source_capability(key)));
    }
    sources
}

fn cap_grant(shown: &ShownNode, granted: &Granted) -> CapGrant {
    let own = addresses(shown, false).into_iter().filter(|address| {
        if address.contains(':') {
            granted.own_ipv6
        } else {
            granted.own_ipv4
        }
    });
    CapGrant {
        dsts: own.chain(granted.routed.iter().cloned()).collect(),
        cap_map: cap_map(&granted.capabilities),
        ..CapGrant::default()
    }
}

fn destination_ranges(shown: &ShownNode, wanted: &Destination) -> Vec<NetPortRange> {
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
            let own = [&shown.node.ipv4, &shown.node.ipv6];
            own.into_iter()
                .filter(|address| !address.is_empty())
                .map(range)
                .collect()
        }
        None => Vec::new(),
    }
}
