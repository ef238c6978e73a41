//! What tests of documents say is what a look at each address and each rule says, however many there are.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::{
    DocumentContext,
    compile::naive::{self, NaiveAddress, reaches},
    inventory::Role,
    policy::AccessRule,
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
    Policy::parse(&text, &DocumentContext::default()).unwrap()
}

fn users() -> BTreeMap<u64, PolicyUser> {
    let user = |id: u64| {
        let role = if id == 1 { Role::Admin } else { Role::Member };
        let login_name = format!("u{id}@a.test");
        (
            id,
            PolicyUser {
                id,
                login_name,
                role,
                groups: Vec::new(),
            },
        )
    };
    (1..3).map(user).collect()
}

fn node(id: u64, kind: u8) -> PolicyNode {
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
    PolicyNode {
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

fn addresses_named<'n>(
    tailnet: &'n TestedTailnet<'_>,
    named: &'n target::TestTarget<'_>,
) -> Vec<NaiveAddress<'n>> {
    match named {
        target::TestTarget::Devices(devices) => devices
            .iter()
            .flat_map(|device| naive::NaivePolicy::addresses_of(device.node))
            .collect(),
        target::TestTarget::MadeUp(devices) => devices
            .iter()
            .flat_map(|made_up| naive::NaivePolicy::addresses_of(made_up.device().node))
            .collect(),
        target::TestTarget::Address(address) => {
            let node = tailnet.device_at(*address).map(|device| device.node);
            vec![NaiveAddress {
                address: *address,
                node,
            }]
        }
        target::TestTarget::Ranges(ranges) => {
            let first = ranges[0].low();
            // All addresses of the range here are the same to all rules.
            vec![NaiveAddress {
                address: first,
                node: None,
            }]
        }
        target::TestTarget::Own | target::TestTarget::Nothing => Vec::new(),
    }
}

/// Says whether every address of the source has a rule to some address of the destination.
fn allowed(tailnet: &TestedTailnet<'_>, source: &str, destination: &str, port: u16) -> bool {
    let naive = naive::NaivePolicy {
        policy: tailnet.policy,
        users: tailnet.users,
        nodes: tailnet.nodes,
    };
    let named = [source, destination]
        .map(|text| tailnet.resolve_target(text, Role::Member, &mut Budget::default()));
    let [from, to] = named.map(Result::unwrap);
    let destinations = addresses_named(tailnet, &to);
    let fits = |rule: &AccessRule| {
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
    addresses_named(tailnet, &from).into_iter().all(|from| {
        tailnet
            .policy
            .rules
            .iter()
            .filter(|rule| fits(rule))
            .any(|rule| {
                rule.sources
                    .iter()
                    .any(|source_selector| naive.selects_address(source_selector, from, None))
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
        let tailnet = TestedTailnet::new(&policy, &users, &nodes);
        let expected = allowed(&tailnet, source, destination, port);
        prop_assert_eq!(
            failed_tests(&policy, &users, &nodes).is_empty(), expected,
            "{} to {}:{} under {:?}", source, destination, port, rules
        );
    }
}

/// Ten thousand devices of people.
fn many() -> (BTreeMap<u64, PolicyUser>, BTreeMap<u64, PolicyNode>) {
    let user = |id: u64| PolicyUser {
        id,
        login_name: format!("u{id}@a.test"),
        ..PolicyUser::default()
    };
    let users = (1..=2_500).map(|id| (id, user(id))).collect();
    let node = |id: u64| PolicyNode {
        id,
        user: id % 2_500 + 1,
        ipv4: Some((0x6440_0000 + u32::try_from(id).unwrap()).into()),
        ipv6: Some((0xfd7a_115c_a1e0_0000_0000_0000_0000_0000 + u128::from(id)).into()),
        ..PolicyNode::default()
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
    let policy = Policy::parse(&text, &DocumentContext::default()).unwrap();
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
    let policy = Policy::parse(&text, &DocumentContext::default()).unwrap();
    let failed = failed_tests(&policy, &users, &nodes);
    assert_eq!(failed.len(), 1);
    assert!(failed[0].message.contains("take too long"), "{}", failed[0]);
}

fn failures(text: &str, users: &[PolicyUser], nodes: &[PolicyNode]) -> Vec<String> {
    let users: BTreeMap<_, _> = users.iter().map(|user| (user.id, user.clone())).collect();
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (node.id, node.clone())).collect();
    let context = DocumentContext::for_tailnet(&users, &std::collections::BTreeSet::new(), None);
    let policy = Policy::parse(text, &context).unwrap();
    let failed = failed_tests(&policy, &users, &nodes).into_iter();
    failed.map(|problem| problem.message).collect()
}

/// Rules of a tailnet that nobody has joined yet.
const MOVING_IN: &str = r#"
    "groups": {"group:eng": ["ana@a.test", "Ben@a.test"], "group:none": []},
    "tagOwners": {"tag:web": [], "tag:db": []},
    "acls": [{"action": "accept", "src": ["group:eng"], "dst": ["tag:web:22", "autogroup:self:80"]},
             {"action": "accept", "src": ["user:*@a.test"], "dst": ["tag:db:443"]},
             {"action": "accept", "src": ["autogroup:tagged"], "dst": ["ana@a.test:80"]},
             {"action": "accept", "src": ["autogroup:member"], "dst": ["tag:db:53"]},
             {"action": "accept", "src": ["autogroup:admin"], "dst": ["autogroup:admin:443", "tag:web:*", "tag:db:*", "group:eng:22"]}],
    "ssh": [{"action": "accept", "src": ["group:eng"], "dst": ["tag:web"], "users": ["root", "localpart:*@a.test"]},
            {"action": "accept", "src": ["autogroup:admin"], "dst": ["tag:db"], "users": ["root"]},
            {"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["autogroup:nonroot"]}]"#;

#[test]
fn tests_of_identities_without_devices_judge_one_they_would_have() {
    let passing = r#""tests": [
        {"src": "ANA@a.test", "accept": ["tag:web:22", "tag:db:443", "autogroup:self:80"], "deny": ["tag:web:80", "tag:db:22"]},
        {"src": "group:eng", "accept": ["tag:web:22"]},
        {"src": "user:*@a.test", "accept": ["tag:db:443"], "deny": ["tag:web:22"]},
        {"src": "someone@b.test", "deny": ["tag:web:22", "tag:db:443", "ben@a.test:80"]},
        {"src": "boss@b.test", "accept": ["tag:web:22", "chief@b.test:443"]},
        {"src": "someone@b.test", "accept": ["tag:db:53"]},
        {"src": "someone@b.test", "deny": ["tag:db:53"]},
        {"src": "tag:web", "accept": ["ana@a.test:80"], "deny": ["ben@a.test:80", "tag:db:443"]},
        {"src": "autogroup:tagged", "accept": ["ana@a.test:80"]},
        {"src": "autogroup:admin", "accept": ["tag:db:22", "group:eng:22"]},
        {"src": "autogroup:member", "deny": ["tag:web:22"]}],
      "sshTests": [
        {"src": "ben@a.test", "dst": ["tag:web"], "accept": ["root", "ben"], "deny": ["ana"]},
        {"src": "ben@a.test", "dst": ["BEN@a.test"], "check": ["ben"]},
        {"src": "someone@b.test", "dst": ["tag:web"], "deny": ["root", "someone"]},
        {"src": "boss@b.test", "dst": ["tag:db"], "accept": ["root"]},
        {"src": "someone@b.test", "dst": ["tag:db"], "deny": ["root"]}]"#;
    assert_eq!(
        failures(&format!("{{{MOVING_IN}, {passing}}}"), &[], &[]),
        [""; 0]
    );
    let nobodies = [
        r#"{"src": "group:none", "deny": ["tag:web:22"]}"#,
        r#"{"src": "group:other", "deny": ["tag:web:22"]}"#,
        r#"{"src": "tag:other", "deny": ["tag:web:22"]}"#,
        r#"{"src": "ana@a.test", "deny": ["tag:other:22"]}"#,
        r#"{"src": "someone@b.test", "accept": ["tag:db:53"], "deny": ["tag:db:53"]}"#,
        // No one role lets somebody do the one and not the other.
        r#"{"src": "someone@b.test", "accept": ["tag:web:22"], "deny": ["tag:web:80"]}"#,
    ];
    for test in nobodies {
        let text = format!(r#"{{{MOVING_IN}, "tests": [{test}]}}"#);
        assert_eq!(failures(&text, &[], &[]).len(), 1, "{test}");
    }
}

#[test]
fn groups_of_identity_providers_are_tested_by_their_users_and_those_defined_here_by_theirs() {
    let ana = PolicyUser::new(
        1,
        "Ana@a.test",
        Role::Member,
        &["ops@a.test".to_owned(), "eng".to_owned()],
    );
    let text = r#"{"groups": {"group:eng": ["ben@a.test"]}, "tagOwners": {"tag:web": []},
        "acls": [{"action": "accept", "src": ["group:ops@a.test"], "dst": ["tag:web:22"]},
                 {"action": "accept", "src": ["group:eng"], "dst": ["tag:web:80"]}],
        "tests": [{"src": "group:ops@a.test", "accept": ["tag:web:22"]},
                  {"src": "ana@A.test", "accept": ["tag:web:22"], "deny": ["tag:web:80"]},
                  {"src": "ben@a.test", "accept": ["tag:web:80"], "deny": ["tag:web:22"]}]}"#;
    let users = [ana];
    assert_eq!(failures(text, &users, &[]), [""; 0]);
    let nodes = [node(1, 0), node(2, 2)].map(|node| PolicyNode { user: 1, ..node });
    assert_eq!(failures(text, &users, &nodes), [""; 0]);
}

#[test]
fn protocols_without_ports_are_tested_with_port_zero() {
    let judged = |services: &str, protocol: &str, test: &str| {
        let text = format!(
            r#"{{"tagOwners": {{"tag:a": [], "tag:b": []}},
                "grants": [{{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["{services}"]}}],
                "tests": [{{"src": "tag:a", "proto": "{protocol}", {test}}}]}}"#
        );
        failures(
            &text,
            &[],
            &[
                node(1, 2),
                PolicyNode {
                    tags: vec!["tag:b".to_owned()],
                    ..node(2, 2)
                },
            ],
        )
    };
    let accept = r#""accept": ["tag:b:0"]"#;
    let deny = r#""deny": ["tag:b:0"]"#;
    for services in ["*", "icmp:*", "22", "*:22"] {
        assert_eq!(judged(services, "icmp", accept), [""; 0], "{services}");
        assert_eq!(judged(services, "1", deny).len(), 1, "{services}");
    }
    for services in ["tcp:22", "gre:*"] {
        assert_eq!(judged(services, "icmp", accept).len(), 1, "{services}");
        assert_eq!(judged(services, "icmp", deny), [""; 0], "{services}");
    }
    assert_eq!(judged("gre:*", "gre", accept), [""; 0]);
    for (protocol, destination, told) in [
        ("icmp", "tag:b:22", r#"write "tag:b:0""#),
        ("icmp", "tag:b:*", "has no ports"),
        ("tcp", "tag:b:0", "one port from 1 to 65535"),
        ("tcp", "tag:b", r#"ports are missing: write "tag:b:*""#),
        ("none", "tag:b:22", "unknown protocol"),
    ] {
        let failed = judged("*", protocol, &format!(r#""accept": ["{destination}"]"#));
        assert!(failed[0].contains(told), "{destination}: {failed:?}");
    }
}

#[test]
fn services_are_left_out_of_tests() {
    let text = r#"{"tagOwners": {"tag:a": []}, "tests": [{"src": "tag:a", "accept": ["svc:web:443"]},
        {"src": "tag:a", "accept": ["svc:web:443", "tag:a:22"], "deny": ["svc:db:1"]}]}"#;
    assert_eq!(failures(text, &[], &[]), [""; 0]);
}
