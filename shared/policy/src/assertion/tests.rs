//! What tests of documents say is what a look at each address and each rule says, however many there are.

use std::{collections::BTreeSet, time::Instant};

use proptest::prelude::*;

use super::*;
use crate::{
    compile::naive::{self, Place, reaches},
    inventory::Role,
    policy::Rule,
};

const SOURCES: [&str; 12] = [
    "u1@a.test",
    "u2@a.test",
    "group:g",
    "tag:a",
    "tag:b",
    "autogroup:member",
    "autogroup:tagged",
    "autogroup:admin",
    "100.64.0.1",
    "fd7a:115c:a1e0::2",
    "10.0.0.7",
    "lan",
];

const RULES: [&str; 10] = [
    r#"{"action":"accept","src":["autogroup:member"],"dst":["tag:a:22"]}"#,
    r#"{"action":"accept","src":["*"],"dst":["u1@a.test:22,80"]}"#,
    r#"{"action":"accept","src":["tag:a","100.64.0.1"],"proto":"udp","dst":["group:g:80"]}"#,
    r#"{"action":"accept","src":["group:g"],"dst":["autogroup:self:80"]}"#,
    r#"{"action":"accept","src":["*"],"dst":["autogroup:self:22"]}"#,
    r#"{"action":"accept","src":["autogroup:danger-all"],"dst":["100.64.0.2:80"]}"#,
    r#"{"action":"accept","src":["10.0.0.0/24"],"dst":["*:80"]}"#,
    r#"{"action":"accept","src":["autogroup:tagged","*"],"dst":["autogroup:tagged:*"]}"#,
    r#"{"action":"accept","src":["autogroup:member"],"dst":["tag:b:22"],"srcPosture":["posture:linux"]}"#,
    r#"{"action":"accept","src":["u1@a.test"],"dst":["10.0.0.0/24:22","autogroup:internet:80"]}"#,
];

fn document(rules: &[usize], tests: &str) -> Policy {
    let rules: Vec<_> = rules.iter().map(|number| RULES[*number]).collect();
    let text = format!(
        r#"{{"groups":{{"group:g":["u1@a.test","u2@a.test"]}},"tagOwners":{{"tag:a":[],"tag:b":[]}},"hosts":{{"lan":"10.0.0.0/24"}},
            "postures":{{"posture:linux":["node:os == 'linux'"]}},"acls":[{}],"tests":[{tests}]}}"#,
        rules.join(",")
    );
    Policy::parse(&text, &BTreeSet::new()).unwrap()
}

fn users() -> BTreeMap<u64, User> {
    let user = |id: u64| {
        let role = if id == 1 { Role::Admin } else { Role::Member };
        let login_name = format!("u{id}@a.test");
        (
            id,
            User {
                id,
                login_name,
                role,
                groups: Vec::new(),
            },
        )
    };
    (1..3).map(user).collect()
}

fn node(id: u64, kind: u8) -> Node {
    let tags: &[&str] = match kind % 4 {
        0 | 1 => &[],
        2 => &["tag:a"],
        _ => &["tag:a", "tag:b"],
    };
    let os = if kind.is_multiple_of(3) {
        "linux"
    } else {
        "macos"
    };
    let route = kind
        .is_multiple_of(5)
        .then(|| "10.0.0.0/24".parse().unwrap());
    Node {
        id,
        user: u64::from(kind / 4 % 2) + 1,
        tags: tags.iter().map(ToString::to_string).collect(),
        ipv4: format!("100.64.0.{id}").parse().ok(),
        ipv6: format!("fd7a:115c:a1e0::{id}").parse().ok(),
        usable_routes: route.into_iter().collect(),
        attributes: crate::Attributes::from([(
            "node:os".to_owned(),
            crate::AttributeValue::Text(os.to_owned()),
        )]),
    }
}

/// Says whether every address of the source has a rule to some address of the destination.
fn allowed(world: &World<'_>, source: &str, destination: &str, port: u16) -> bool {
    let naive = naive::World {
        policy: world.policy,
        users: world.users,
        nodes: world.nodes,
    };
    let places = |text: &str| -> Vec<Place<'_>> {
        match world.named(text, &mut Budget::default()).unwrap() {
            named::Named::Nodes(nodes) => nodes
                .into_iter()
                .flat_map(naive::World::places_of)
                .collect(),
            named::Named::Address(address) => {
                let node = world.at(address);
                vec![Place { address, node }]
            }
            named::Named::Ranges(ranges) => {
                let first = ranges[0].low();
                // All addresses of the range here are the same to all rules.
                vec![Place {
                    address: first,
                    node: None,
                }]
            }
            named::Named::Own | named::Named::Nothing => Vec::new(),
        }
    };
    let destinations = places(destination);
    let fits = |rule: &Rule| {
        rule.services.iter().any(|service| {
            service
                .protocol
                .is_none_or(|number| [6, 17].contains(&number))
                && service
                    .ports
                    .iter()
                    .any(|ports| ports.first <= port && port <= ports.last)
        })
    };
    places(source).into_iter().all(|from| {
        world
            .policy
            .rules
            .iter()
            .filter(|rule| fits(rule))
            .any(|rule| {
                rule.sources
                    .iter()
                    .any(|party| naive.has(party, from, None))
                    && destinations
                        .iter()
                        .any(|to| reaches(naive, rule, from, *to))
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn access_tests_say_what_a_look_at_each_address_says(
        rules in prop::collection::vec(0..RULES.len(), 0..6),
        kinds in prop::collection::vec(any::<u8>(), 1..6),
        source in 0..SOURCES.len(),
        destination in 0..SOURCES.len() - 1,
        port in prop_oneof![Just(22_u16), Just(80)],
    ) {
        let nodes: BTreeMap<_, _> = (1..).zip(kinds).map(|(id, kind)| (id, node(id, kind))).collect();
        let (source, destination) = (SOURCES[source], SOURCES[destination]);
        let to = if destination.contains("::") { format!("[{destination}]") } else { destination.to_owned() };
        let test = format!(r#"{{"src":"{source}","accept":["{to}:{port}"]}}"#);
        let (policy, users) = (document(&rules, &test), users());
        let world = World::new(&policy, &users, &nodes);
        let has = |text: &str| !matches!(world.named(text, &mut Budget::default()), Ok(named::Named::Nodes(nodes)) if nodes.is_empty());
        let expected = has(source) && has(destination) && allowed(&world, source, destination, port);
        prop_assert_eq!(
            failed_tests(&policy, &users, &nodes).is_empty(), expected,
            "{} to {}:{} under {:?}", source, destination, port, rules
        );
    }
}

/// Ten thousand devices of people.
fn many() -> (BTreeMap<u64, User>, BTreeMap<u64, Node>) {
    let user = |id: u64| User {
        id,
        login_name: format!("u{id}@a.test"),
        ..User::default()
    };
    let users = (1..=2_500).map(|id| (id, user(id))).collect();
    let node = |id: u64| Node {
        id,
        user: id % 2_500 + 1,
        ipv4: Some((0x6440_0000 + u32::try_from(id).unwrap()).into()),
        ipv6: Some((0xfd7a_115c_a1e0_0000_0000_0000_0000_0000 + u128::from(id)).into()),
        ..Node::default()
    };
    let mut nodes: BTreeMap<_, _> = (1..=10_000).map(|id| (id, node(id))).collect();
    let server = nodes.entry(1).or_default();
    server.tags = vec!["tag:a".to_owned()];
    (users, nodes)
}

#[test]
fn a_test_of_everybody_under_many_rules_takes_no_time() {
    let (users, nodes) = many();
    let rules = (1..=1_000).map(|port| {
        let source = if port == 1_000 { "autogroup:member" } else { "group:g" };
        format!(r#"{{"action":"accept","src":["{source}","u{port}@a.test"],"dst":["autogroup:member:{port}","autogroup:self:{port}"]}}"#)
    });
    let text = format!(
        r#"{{"groups":{{"group:g":["u1@a.test"]}},"tagOwners":{{"tag:a":[]}},"acls":[{}],
            "ssh":[{{"action":"accept","src":["autogroup:member"],"dst":["tag:a", "autogroup:self"],"users":["localpart:*@a.test"]}}],
            "tests":[{{"src":"autogroup:member","accept":["autogroup:member:1000","autogroup:self:1000"],"deny":["autogroup:member:7"]}}],
            "sshTests":[{{"src":"autogroup:member","dst":["tag:a"],"deny":["root"]}}]}}"#,
        rules.collect::<Vec<_>>().join(",")
    );
    let policy = Policy::parse(&text, &BTreeSet::new()).unwrap();
    let start = Instant::now();
    assert_eq!(failed_tests(&policy, &users, &nodes), []);
    let took = start.elapsed();
    assert!(took.as_secs() < 10, "{took:?}");
}

#[test]
fn tests_that_would_take_too_long_are_refused() {
    let (users, nodes) = many();
    // Attributes make each source another one.
    let test =
        r#"{"src":"autogroup:member","srcPostureAttrs":{"node:os":"linux"},"accept":["tag:a:22"]}"#;
    let text = format!(
        r#"{{"tagOwners":{{"tag:a":[]}},"tests":[{}]}}"#,
        vec![test; 10_000].join(",")
    );
    let policy = Policy::parse(&text, &BTreeSet::new()).unwrap();
    let start = Instant::now();
    let failed = failed_tests(&policy, &users, &nodes);
    let took = start.elapsed();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].message.contains("take too long"), "{}", failed[0]);
    assert!(took.as_secs() < 60, "{took:?}");
}
