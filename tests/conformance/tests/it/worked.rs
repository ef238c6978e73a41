//! Worked cases of the language, one after the other through the code that tells clients: what each node's filter is,
//! and who sees whom.

mod attributes;
mod filters;
mod refusals;
mod routes;
mod ssh;
pub(crate) mod tailnet;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use bowline_conformance::{Candidate, Told};
use serde_json::Value;

use tailnet::{NODES, Tailnet};

/// A policy, and what it makes of a tailnet.
struct Example {
    /// What it shows.
    shows: &'static str,
    tailnet: Tailnet,
    /// The sections that are not the same in every case.
    policy: &'static str,
    /// The filters: nodes by name (`all`: each), and their rules; nodes not named have none.
    ///
    /// `SOURCES -> DESTINATION:PORTS` or `SOURCES => own CAPABILITIES`, or prefixes in the place of `own`. A node's name stands for both its addresses,
    /// `wild` for what `*` is as a source, `own` for the node itself, `inet` for the internet.
    told: &'static [(&'static str, &'static [&'static str])],
    /// `a, b <-> c; …`; `everyone` for all others, `mesh` for all with all, empty for none.
    peers: &'static str,
}

/// One rule in a form that can be compared: sources, protocol, ports, one destination; or a grant.
pub(crate) type Rules = BTreeSet<String>;

fn check(examples: &[Example]) {
    for example in examples {
        let told = accepted(example);
        for (name, _) in example.tailnet.nodes() {
            let rules = rules(&told.nodes[name]);
            assert_eq!(
                rules,
                expected(example, name),
                "{}: the filter of {name}",
                example.shows
            );
        }
        assert_eq!(
            pairs(&told),
            expected_pairs(example),
            "{}: peers",
            example.shows
        );
    }
}

fn accepted(example: &Example) -> Candidate {
    let told = example.tailnet.told(example.policy);
    assert!(told.accepted, "{}: {}", example.shows, told.error);
    told
}

pub(crate) fn rules(told: &Told) -> Rules {
    let mut rules = Rules::new();
    for rule in &told.packet_filter_rules {
        let mut sources = rule.src_ips.clone();
        sources.sort();
        let sources = sources.join(" ");
        let protocol = rule
            .ip_proto
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        for destination in &rule.dst_ports {
            let ports = (destination.ports.first, destination.ports.last);
            rules.insert(format!(
                "{sources} -> {} {ports:?} [{protocol}]",
                destination.ip
            ));
        }
        for grant in &rule.cap_grant {
            let map = &serde_json::to_value(grant).unwrap()["CapMap"];
            rules.insert(format!("{sources} => {} {map}", grant.dsts.join(" ")));
        }
    }
    rules
}

fn expected(example: &Example, name: &str) -> Rules {
    let named = |names: &str| names == "all" || names.split(", ").any(|one| one == name);
    let lines = example
        .told
        .iter()
        .filter(|(names, _)| named(names))
        .flat_map(|(_, rules)| *rules);
    lines
        .flat_map(|line| expand(example.tailnet, name, line))
        .collect()
}

/// Writes one line of an example out for a node.
fn expand(tailnet: Tailnet, name: &str, line: &str) -> Rules {
    if let Some((sources, rest)) = line.split_once(" => ") {
        let (named, map) = rest.split_once(" {").unwrap();
        let own = NODES[name].map(|address| {
            if address.contains(':') {
                format!("{address}/128")
            } else {
                format!("{address}/32")
            }
        });
        let named = if named == "own" {
            own.join(" ")
        } else {
            named.to_owned()
        };
        let map: Value = serde_json::from_str(&format!("{{{map}")).unwrap();
        return Rules::from([format!(
            "{} => {named} {map}",
            expand_sources(tailnet, sources)
        )]);
    }
    let (sources, rest) = line.split_once(" -> ").unwrap();
    let (destinations, protocol) = rest
        .split_once(" [")
        .map_or((rest, ""), |(rest, end)| (rest, end.trim_end_matches(']')));
    let sources = expand_sources(tailnet, sources);
    let mut rules = Rules::new();
    for destination in destinations.split(' ') {
        let (address, ports) = destination.rsplit_once(':').unwrap();
        let addresses = match address {
            "own" => NODES[name].map(str::to_owned).to_vec(),
            "inet" => tailnet::INTERNET.map(str::to_owned).to_vec(),
            literal => vec![literal.to_owned()],
        };
        let ports: (u16, u16) = match ports {
            "*" => (0, 65_535),
            one => (one.parse().unwrap(), one.parse().unwrap()),
        };
        rules.extend(
            addresses
                .iter()
                .map(|address| format!("{sources} -> {address} {ports:?} [{protocol}]")),
        );
    }
    rules
}

fn expand_sources(tailnet: Tailnet, sources: &str) -> String {
    let expand = |source: &str| match source {
        "wild" => tailnet.wild(),
        "" => Vec::new(),
        name => NODES.get(name).map_or_else(
            || vec![name.to_owned()],
            |both| both.map(str::to_owned).to_vec(),
        ),
    };
    let all: BTreeSet<_> = sources.split(' ').flat_map(expand).collect();
    all.into_iter().collect::<Vec<_>>().join(" ")
}

/// Returns the pairs of peers, and that each sees the other.
fn pairs(told: &Candidate) -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for (name, node) in &told.nodes {
        for peer in node.peers.keys() {
            assert!(
                told.nodes[peer].peers.contains_key(name),
                "{peer} does not see {name}"
            );
            pairs.insert((
                name.clone().min(peer.clone()),
                name.clone().max(peer.clone()),
            ));
        }
    }
    pairs
}

fn expected_pairs(example: &Example) -> BTreeSet<(String, String)> {
    let everyone: Vec<_> = example
        .tailnet
        .nodes()
        .map(|(name, _)| name.to_owned())
        .collect();
    let text = if example.peers == "mesh" {
        "everyone <-> everyone"
    } else {
        example.peers
    };
    let list = |names: &str| match names.trim() {
        "everyone" => everyone.clone(),
        names => names.split(", ").map(str::to_owned).collect(),
    };
    let mut pairs = BTreeSet::new();
    for (left, right) in text.split(';').filter_map(|pair| pair.split_once("<->")) {
        for left in list(left) {
            for right in list(right).into_iter().filter(|right| *right != left) {
                pairs.insert((left.clone().min(right.clone()), left.clone().max(right)));
            }
        }
    }
    pairs
}

/// Returns the subnets and exits that each viewer has through each peer.
fn routes(told: &Candidate) -> BTreeMap<(String, String), Vec<String>> {
    let mut routes = BTreeMap::new();
    for (viewer, node) in &told.nodes {
        for (peer, seen) in &node.peers {
            let behind: Vec<_> = seen.allowed_ips.iter().skip(2).cloned().collect();
            if !behind.is_empty() {
                routes.insert((viewer.clone(), peer.clone()), behind);
            }
        }
    }
    routes
}
