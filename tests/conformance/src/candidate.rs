//! What each node of a case would be told.

use std::collections::{BTreeMap, BTreeSet};

use bowline_control_wire::{DerpMap, FilterRule, MapResponse, SshRule};
use bowline_ids::NodeId;
use bowline_netmap::{FilterSources, Replica, build_full};
use bowline_policy::{Compiler, DocumentContext, Policy, failed_tests};
use bowline_policy_compiler::{inventory, message};
use bowline_proto::{
    identity::v1::IdentitySnapshot,
    key_registry::v1::{RegistrySnapshot, SoftState},
    policy::v1::Stamp,
};
use chrono::DateTime;
use serde::Serialize;
use serde_json::Value;

use crate::{case::Case, case_tailnet::CaseTailnet};

/// One line of the answer.
#[derive(Debug, Serialize)]
pub struct Candidate {
    /// The case.
    pub id: String,
    /// Whether the policy was accepted.
    pub accepted: bool,
    /// Why it was not.
    pub error: String,
    /// What each node would be told, by name.
    pub nodes: BTreeMap<String, Told>,
}

/// What one node would be told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Its packet filter, all chunks.
    pub packet_filter_rules: Vec<FilterRule>,
    /// Its SSH policy.
    pub ssh_rules: Vec<SshRule>,
    /// Its peers by name.
    pub peers: BTreeMap<String, Peer>,
    /// Its own capabilities.
    pub cap_map: Value,
}

/// A peer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Peer {
    /// The addresses that lead to it.
    #[serde(rename = "AllowedIPs")]
    pub allowed_ips: Vec<String>,
    /// The subnets it is the router of.
    pub primary_routes: Vec<String>,
    /// The capabilities it shows.
    pub cap_map: Value,
}

/// Returns what the nodes of a case would be told; where filters name sources by capabilities, these are written out
/// as the addresses of the peers that have them.
#[must_use]
pub fn candidate(case: &Case, sources: FilterSources) -> Candidate {
    let tailnet = CaseTailnet::new(case);
    let refused = |error: String| Candidate {
        id: case.id.clone(),
        accepted: false,
        error,
        nodes: BTreeMap::new(),
    };
    let lines = |problems: Vec<bowline_policy::Problem>| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    };
    let context = DocumentContext {
        domains: tailnet.domains.clone(),
        groups: Some(BTreeSet::new()),
        ..DocumentContext::default()
    };
    let policy = match Policy::parse(&case.policy, &context) {
        Ok(policy) => policy,
        Err(problems) => return refused(lines(problems)),
    };
    let mut compiler = Compiler::new(policy);
    tailnet
        .users
        .iter()
        .for_each(|user| compiler.put_user(inventory::convert_user(user, &user.groups)));
    tailnet
        .nodes
        .iter()
        .for_each(|(_, node)| compiler.put_node(inventory::convert_node(node)));
    let failed = failed_tests(compiler.policy(), compiler.users(), compiler.nodes());
    if !failed.is_empty() {
        return refused(lines(failed));
    }
    let told = told(&tailnet, &compiler, sources);
    Candidate {
        id: case.id.clone(),
        accepted: true,
        error: String::new(),
        nodes: told,
    }
}

fn told(
    tailnet: &CaseTailnet,
    compiler: &Compiler,
    sources: FilterSources,
) -> BTreeMap<String, Told> {
    let mut replica = Replica::new(sources);
    replica.apply_identity_snapshot(vec![IdentitySnapshot {
        revision: 1,
        tailnet: Some(tailnet.tailnet.clone()),
        users: tailnet.users.clone(),
        last: true,
        ..IdentitySnapshot::default()
    }]);
    let online = |id| SoftState {
        node_id: id,
        soft_revision: 1,
        online: true,
        ..SoftState::default()
    };
    replica.apply_registry_snapshot(vec![RegistrySnapshot {
        revision: 1,
        nodes: tailnet.nodes.iter().map(|(_, node)| node.clone()).collect(),
        soft: tailnet
            .nodes
            .iter()
            .map(|(_, node)| online(node.id))
            .collect(),
        last: true,
        ..RegistrySnapshot::default()
    }]);
    let stamp = Stamp {
        policy_version: 1,
        registry_revision: 1,
        identity_revision: 1,
    };
    replica.apply_compiled(message::update_messages(
        &compiler.full_output(),
        stamp,
        true,
    ));
    let Some((view, _)) = replica.publish() else {
        return BTreeMap::new();
    };
    let names: BTreeMap<_, _> = tailnet
        .nodes
        .iter()
        .map(|(name, node)| (node.id, name.clone()))
        .collect();
    let now = DateTime::UNIX_EPOCH;
    let netmap = |id: &u64| {
        let id = NodeId::try_from(*id).ok()?;
        build_full(&view, id, &DerpMap::default(), now)
    };
    names
        .iter()
        .filter_map(|(id, name)| Some((name.clone(), node(netmap(id)?, &names))))
        .collect()
}

fn node(mut message: MapResponse, names: &BTreeMap<u64, String>) -> Told {
    write_out(&mut message);
    let json = |value: &_| serde_json::to_value(value).unwrap_or_default();
    let peer = |peer: bowline_control_wire::Node| {
        let told = Peer {
            allowed_ips: peer.allowed_ips,
            primary_routes: peer.primary_routes,
            cap_map: json(&peer.cap_map),
        };
        (names.get(&peer.id).cloned().unwrap_or_default(), told)
    };
    Told {
        packet_filter_rules: message
            .packet_filters
            .into_values()
            .flatten()
            .flatten()
            .collect(),
        ssh_rules: message
            .ssh_policy
            .map(|policy| policy.rules)
            .unwrap_or_default(),
        peers: message.peers.into_iter().map(peer).collect(),
        cap_map: json(&message.node.map(|node| node.cap_map).unwrap_or_default()),
    }
}

/// Puts addresses in place of the capabilities that stand for sources, and takes those off the peers.
fn write_out(message: &mut MapResponse) {
    const SOURCE: &str = "bowline.internal/source/";
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for peer in &mut message.peers {
        let names: Vec<_> = peer
            .cap_map
            .keys()
            .filter(|name| name.starts_with(SOURCE))
            .cloned()
            .collect();
        for name in names {
            peer.cap_map.remove(&name);
            let addresses = peer
                .addresses
                .iter()
                .filter_map(|prefix| prefix.split('/').next());
            holders
                .entry(name)
                .or_default()
                .extend(addresses.map(str::to_owned));
        }
    }
    for rule in message.packet_filters.values_mut().flatten().flatten() {
        let written = |source: String| match source.strip_prefix("cap:") {
            Some(name) => holders.get(name).cloned().unwrap_or_default(),
            None => vec![source],
        };
        rule.src_ips = std::mem::take(&mut rule.src_ips)
            .into_iter()
            .flat_map(written)
            .collect();
    }
}
