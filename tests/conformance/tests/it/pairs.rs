//! Small tailnets with any rules: each node's filter, peers and routes are what a look at every pair of nodes and every
//! rule says.

mod naive;

use std::collections::{BTreeMap, BTreeSet};

use bowline_conformance::{
    Case, Node, Recorded, RecordedSelf, TailnetSettings, Topology, User, candidate,
};
use bowline_netmap::FilterSources;
use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use crate::worked::rules;
use naive::{Grant, Listed, Naive};

const USERS: [(&str, &str); 2] = [("ana", "ana@corp.test"), ("ben", "ben@partner.test")];
const TAGS: [&str; 3] = ["tag:a", "tag:b", "tag:c"];
const ROUTES: [&str; 6] = [
    "10.0.0.0/8",
    "10.33.0.0/16",
    "10.44.0.0/16",
    "192.168.1.0/24",
    "0.0.0.0/0",
    "::/0",
];
const SOURCES: [&str; 14] = [
    "*",
    "ana@corp.test",
    "ben@partner.test",
    "group:all",
    "tag:a",
    "tag:b",
    "tag:c",
    "autogroup:member",
    "autogroup:tagged",
    "autogroup:danger-all",
    "100.64.0.1",
    "100.64.0.2/31",
    "10.33.0.0/16",
    "192.168.0.0/16",
];
const DESTINATIONS: [&str; 17] = [
    "*",
    "ana@corp.test",
    "ben@partner.test",
    "group:all",
    "tag:a",
    "tag:b",
    "tag:c",
    "autogroup:member",
    "autogroup:tagged",
    "autogroup:self",
    "autogroup:internet",
    "100.64.0.1",
    "100.64.0.2/31",
    "10.0.0.0/8",
    "10.33.5.7",
    "192.168.1.0/24",
    "8.8.8.0/24",
];

fn listed() -> impl Strategy<Value = Listed> {
    let tags = prop::sample::subsequence(TAGS.to_vec(), 0..=2);
    let routes = prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::sample::subsequence(ROUTES[..4].to_vec(), 1..=2),
        1 => Just(ROUTES[4..].to_vec()),
        1 => prop::sample::subsequence(ROUTES.to_vec(), 3..=5),
    ];
    (tags, 0..USERS.len(), routes).prop_map(|(tags, user, routes)| Listed {
        user: tags.is_empty().then_some(USERS[user]),
        tags,
        routes,
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    let some = |all: &[&'static str], most| prop::sample::subsequence(all.to_vec(), 1..=most);
    let via = prop_oneof![
        1 => Just(Vec::new()),
        1 => prop::sample::subsequence(TAGS.to_vec(), 1..=2),
    ];
    let sources = prop_oneof![
        3 => some(&SOURCES, 2),
        2 => prop::sample::select(vec!["*", "tag:a", "tag:b", "10.33.0.0/16"]).prop_map(|one| vec![one]),
    ];
    let destinations = prop_oneof![
        2 => some(&DESTINATIONS, 3),
        3 => some(&DESTINATIONS[10..16], 2),
    ];
    (sources, destinations, 0..3_u8, via).prop_filter_map(
        "the language has no such grant",
        |(sources, destinations, kind, via)| {
            let grant = Grant {
                sources,
                destinations,
                ports: kind != 1,
                capability: kind != 0,
                via,
            };
            grant.is_valid().then_some(grant)
        },
    )
}

fn case(nodes: &[Listed], grants: &[Grant]) -> Case {
    let names: Vec<_> = (1..=nodes.len()).map(|id| format!("n{id}")).collect();
    let node = |(id, listed): (usize, &Listed)| {
        let routes: Vec<_> = listed.routes.iter().map(ToString::to_string).collect();
        let [ipv4, ipv6] = naive::addresses(id);
        let node = Node {
            tags: listed.tags.iter().map(ToString::to_string).collect(),
            user: listed.user.map(|(name, _)| name.to_owned()),
            ipv4,
            ipv6,
            routable_ips: routes.clone(),
            approved_routes: routes,
        };
        (names[id - 1].clone(), node)
    };
    let recorded = |(at, name): (i64, &String)| {
        let own = RecordedSelf {
            created: DateTime::UNIX_EPOCH + TimeDelta::seconds(at),
            primary_routes: None,
            cap_map: None,
        };
        (name.clone(), Recorded { own })
    };
    let user = |(id, (name, email)): (u64, (&str, &str))| User {
        id,
        name: name.to_owned(),
        email: email.to_owned(),
    };
    let grants: Vec<_> = grants.iter().map(ToString::to_string).collect();
    Case {
        id: String::new(),
        policy: format!(
            r#"{{"groups": {{"group:all": ["ana@corp.test", "ben@partner.test"]}},
                "tagOwners": {{"tag:a": [], "tag:b": [], "tag:c": []}}, "grants": [{}]}}"#,
            grants.join(", ")
        ),
        topology: Topology {
            users: (1..).zip(USERS).map(user).collect(),
            nodes: (1..).zip(nodes).map(node).collect(),
        },
        expect: (0..).zip(&names).map(recorded).collect(),
        tailnet_settings: TailnetSettings::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn filters_peers_and_routes_are_what_every_pair_and_every_rule_say(
        nodes in prop::collection::vec(listed(), 2..7),
        grants in prop::collection::vec(grant(), 1..5),
    ) {
        let told = candidate(&case(&nodes, &grants), FilterSources::Addresses);
        prop_assert!(told.accepted, "{}", told.error);
        let naive = Naive::new(&nodes, &grants);
        for viewer in 1..=nodes.len() {
            let told = &told.nodes[&format!("n{viewer}")];
            prop_assert_eq!(rules(told), naive.filter(viewer), "the filter of n{}", viewer);
            let routes = |allowed: &[String]| -> BTreeSet<String> {
                allowed.iter().skip(2).cloned().collect()
            };
            let seen: BTreeMap<_, _> = told
                .peers
                .iter()
                .map(|(name, peer)| (name.clone(), routes(&peer.allowed_ips)))
                .collect();
            let expected: BTreeMap<_, _> = (1..=nodes.len())
                .filter(|peer| naive.are_peers(viewer, *peer))
                .map(|peer| (format!("n{peer}"), naive.routes(viewer, peer)))
                .collect();
            prop_assert_eq!(seen, expected, "what n{} sees", viewer);
        }
    }
}
