//! Worked cases, and the compiler against a naive oracle that looks at every pair.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{Node, Policy, Role, User};

fn user(id: u64, login_name: &str) -> User {
    User {
        id,
        login_name: login_name.to_owned(),
        role: Role::Member,
        groups: Vec::new(),
    }
}

fn node(id: u64, user: u64, tags: &[&str], routes: &[&str]) -> Node {
    Node {
        id,
        user,
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ipv4: Some(std::net::Ipv4Addr::new(100, 64, 0, id as u8)),
        ipv6: Some(format!("fd7a:115c:a1e0::{id:x}").parse().unwrap()),
        usable_routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
    }
}

fn compiler(policy: &str, nodes: &[Node]) -> Compiler {
    let mut compiler = Compiler::new(Policy::parse(policy).unwrap());
    compiler.put_user(user(1, "amira@example.com"));
    compiler.put_user(user(2, "ben@example.com"));
    nodes
        .iter()
        .for_each(|node| compiler.put_node(node.clone()));
    compiler
}

/// Returns the numbers of a node's peers.
fn peers(output: &Output, id: u64) -> BTreeSet<u64> {
    let class_of = |id| {
        output
            .memberships
            .iter()
            .find(|m| m.node == id)
            .unwrap()
            .class
    };
    let visible = &output.classes[&class_of(id)].visible;
    output
        .memberships
        .iter()
        .filter(|member| member.node != id && visible.contains_key(&member.class))
        .map(|member| member.node)
        .collect()
}

/// Returns a node's filter as `sources → address:ports` lines.
fn filter(output: &Output, id: u64) -> Vec<String> {
    let class = output
        .memberships
        .iter()
        .find(|m| m.node == id)
        .unwrap()
        .class;
    let mut lines = Vec::new();
    for rule in &output.classes[&class].filter {
        let sources: Vec<_> = output.source_lists[&rule.source_list]
            .0
            .iter()
            .cloned()
            .collect();
        for destination in &rule.destinations {
            let address = match &destination.address {
                Address::Own => "own",
                Address::Literal(text) => text,
            };
            let ports = destination.ports;
            lines.push(format!(
                "{} → {address}:{}-{}",
                sources.join(" "),
                ports.first,
                ports.last
            ));
        }
    }
    lines
}

#[test]
fn without_a_document_everybody_sees_everybody() {
    let compiler = compiler(
        "",
        &[
            node(1, 1, &[], &[]),
            node(2, 2, &[], &[]),
            node(3, 0, &["tag:x"], &[]),
        ],
    );
    let output = compiler.full();
    assert_eq!(peers(&output, 1), [2, 3].into());
    let any =
        "100.115.94.0-100.127.255.255 100.64.0.0-100.115.91.255 fd7a:115c:a1e0::/48 → *:0-65535";
    assert_eq!(filter(&output, 3), [any]);
    assert_eq!(output.classes.len(), 1);
}

#[test]
fn rule_opens_one_port_in_one_direction_and_makes_both_peers() {
    let policy = r#"{"tagOwners": {"tag:web": []}, "acls": [
        {"action": "accept", "src": ["amira@example.com"], "dst": ["tag:web:80"]}]}"#;
    let nodes = [
        node(1, 1, &[], &[]),
        node(2, 2, &[], &[]),
        node(3, 0, &["tag:web"], &[]),
    ];
    let output = compiler(policy, &nodes).full();
    assert_eq!(
        (peers(&output, 1), peers(&output, 3)),
        ([3].into(), [1].into())
    );
    assert!(peers(&output, 2).is_empty() && filter(&output, 1).is_empty());
    assert_eq!(
        filter(&output, 3),
        ["100.64.0.1 fd7a:115c:a1e0::1 → own:80-80"]
    );
}

#[test]
fn own_devices_are_kept_apart_by_user() {
    let policy = r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self:*"]}]}"#;
    let nodes = [
        node(1, 1, &[], &[]),
        node(2, 2, &[], &[]),
        node(3, 1, &[], &[]),
    ];
    let output = compiler(policy, &nodes).full();
    assert_eq!(
        (peers(&output, 1), peers(&output, 2)),
        ([3].into(), [].into())
    );
    let sources = "100.64.0.1 100.64.0.3 fd7a:115c:a1e0::1 fd7a:115c:a1e0::3";
    assert_eq!(filter(&output, 3), [format!("{sources} → own:0-65535")]);
}

#[test]
fn subnet_router_is_seen_with_the_routes_that_rules_name() {
    let policy = r#"{"acls": [
        {"action": "accept", "src": ["amira@example.com"], "dst": ["10.0.1.0/24:22"]}]}"#;
    let nodes = [
        node(1, 1, &[], &[]),
        node(2, 2, &[], &["10.0.0.0/16", "10.9.0.0/16", "0.0.0.0/0"]),
    ];
    let output = compiler(policy, &nodes).full();
    assert_eq!(peers(&output, 1), [2].into());
    let class = |id| {
        output
            .memberships
            .iter()
            .find(|m| m.node == id)
            .unwrap()
            .class
    };
    let visible = &output.classes[&class(1)].visible[&class(2)];
    assert_eq!(visible.routes, ["10.0.0.0/16".parse().unwrap()].into());
    assert!(!visible.exit_routes);
    assert_eq!(
        filter(&output, 2),
        ["100.64.0.1 fd7a:115c:a1e0::1 → 10.0.1.0/24:22-22"]
    );
}

#[test]
fn one_more_node_of_a_class_touches_its_lists_only() {
    let policy = r#"{"acls": [
        {"action": "accept", "src": ["amira@example.com"], "dst": ["ben@example.com:22"]}]}"#;
    let mut compiler = compiler(policy, &[node(1, 1, &[], &[]), node(2, 2, &[], &[])]);
    compiler.take_changes();
    compiler.put_node(node(3, 1, &[], &[]));
    let changes = compiler.take_changes();
    assert!(changes.classes.is_empty() && changes.removed_classes.is_empty());
    assert_eq!(
        (changes.source_lists.len(), changes.memberships.len()),
        (1, 1)
    );
    compiler.put_node(node(3, 1, &[], &[]));
    assert_eq!(compiler.take_changes(), Output::default());
}

const POLICIES: [&str; 4] = [
    "",
    r#"{"acls": []}"#,
    r#"{"tagOwners": {"tag:a": [], "tag:b": []}, "groups": {"group:g": ["ben@example.com"]},
        "acls": [{"action": "accept", "src": ["group:g", "tag:a"], "dst": ["tag:b:80", "100.64.0.3:22"]},
                 {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*", "10.0.0.0/8:*"]}]}"#,
    r#"{"tagOwners": {"tag:a": [], "tag:b": []}, "acls": [
        {"action": "accept", "src": ["tag:b", "10.0.0.0/8"], "dst": ["*:*"]},
        {"action": "accept", "src": ["amira@example.com"], "dst": ["autogroup:internet:*"]}]}"#,
];

/// One step in the life of a tailnet.
#[derive(Clone, Debug)]
enum Step {
    Put(Node),
    Remove(u64),
    Policy(usize),
    Rename(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let tags = prop::sample::select(vec![
        vec![],
        vec!["tag:a"],
        vec!["tag:b"],
        vec!["tag:a", "tag:b"],
    ]);
    let routes = prop::sample::select(vec![
        vec![],
        vec!["10.0.0.0/16"],
        vec!["10.1.0.0/16", "192.168.0.0/24"],
        vec!["0.0.0.0/0", "::/0"],
    ]);
    let put = (1..7_u64, 1..4_u64, tags, routes)
        .prop_map(|(id, user, tags, routes)| Step::Put(node(id, user, &tags, &routes)));
    prop_oneof![
        6 => put,
        1 => (1..7_u64).prop_map(Step::Remove),
        1 => (0..POLICIES.len()).prop_map(Step::Policy),
        1 => any::<bool>().prop_map(Step::Rename),
    ]
}

/// Applies a difference to what was known, as a gateway does.
fn apply(known: &mut Output, changes: Output) {
    known
        .classes
        .retain(|id, _| !changes.removed_classes.contains(id));
    known.classes.extend(changes.classes);
    known
        .source_lists
        .retain(|id, _| !changes.removed_source_lists.contains(id));
    known.source_lists.extend(changes.source_lists);
    let moved: BTreeSet<_> = changes
        .memberships
        .iter()
        .map(|member| member.node)
        .collect();
    known.memberships.retain(|member| {
        !moved.contains(&member.node) && !changes.removed_nodes.contains(&member.node)
    });
    known.memberships.extend(changes.memberships);
    known.memberships.sort_by_key(|member| member.node);
}

proptest! {
    #[test]
    fn differences_add_up_to_the_whole(steps in prop::collection::vec(step(), 1..40)) {
        let mut compiler = compiler("", &[]);
        let mut known = compiler.full();
        compiler.take_changes();
        let (mut policy, mut renamed, mut nodes) = (0, false, std::collections::BTreeMap::new());
        for step in steps {
            match step.clone() {
                Step::Put(node) => { nodes.insert(node.id, node.clone()); compiler.put_node(node); }
                Step::Remove(id) => { nodes.remove(&id); compiler.remove_node(id); }
                Step::Policy(index) => { policy = index; compiler.set_policy(Policy::parse(POLICIES[index]).unwrap()); }
                Step::Rename(other) => { renamed = other; compiler.put_user(user(2, if other { "eve@example.com" } else { "ben@example.com" })); }
            }
            apply(&mut known, compiler.take_changes());
            prop_assert_eq!(&known, &compiler.full(), "after {:?}", step);
            let mut fresh = Compiler::new(Policy::parse(POLICIES[policy]).unwrap());
            fresh.put_user(user(1, "amira@example.com"));
            fresh.put_user(user(2, if renamed { "eve@example.com" } else { "ben@example.com" }));
            nodes.values().for_each(|node| fresh.put_node(node.clone()));
            prop_assert_eq!(&known, &fresh.full(), "compiled anew after {:?}", step);
        }
        for one in nodes.keys() {
            for other in nodes.keys() {
                prop_assert_eq!(peers(&known, *one).contains(other), peers(&known, *other).contains(one));
            }
        }
    }
}
