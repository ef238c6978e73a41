//! However an inventory came to be, the output is that of a fresh compiler; and it says the same as a naive look at
//! each pair of nodes and each rule.

pub(crate) mod naive;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use proptest::prelude::*;

use super::{Compiler, ListChange, Output, RuleUse};
use crate::{
    DocumentContext, Policy,
    attribute::{AttributeValue, Attributes},
    inventory::{PolicyNode, PolicyUser, Role},
};

use naive::{NaiveAddress, NaivePolicy, reaches};

const POLICIES: [&str; 8] = [
    "",
    r#"{"acls": []}"#,
    r#"{"groups": {"group:eng": ["u1@a.test", "u2@b.test"]}, "tagOwners": {"tag:web": [], "tag:db": []},
        "hosts": {"lan": "10.0.0.0/8"},
        "acls": [{"action": "accept", "src": ["group:eng"], "dst": ["tag:web:80,443", "lan:*"]},
                 {"action": "accept", "src": ["tag:web"], "dst": ["tag:db:5432"]},
                 {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]},
                 {"action": "accept", "src": ["group:eng", "100.64.0.3"], "proto": "udp", "dst": ["tag:web:53"]}]}"#,
    r#"{"tagOwners": {"tag:web": [], "tag:db": []},
        "grants": [{"src": ["*"], "dst": ["tag:web"], "ip": ["tcp:80"], "app": {"example.com/cap/x": [{"a": 1}]}},
                   {"src": ["autogroup:admin"], "dst": ["*"], "app": {"tailscale.com/cap/drive": [{}]}},
                   {"src": ["u1@a.test"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:db"]},
                   {"src": ["autogroup:member"], "dst": ["autogroup:internet"], "ip": ["*"]}]}"#,
    r#"{"tagOwners": {"tag:web": []},
        "acls": [{"action": "accept", "src": ["10.0.0.0/16"], "dst": ["10.1.0.0/16:22", "u1@a.test:*"]},
                 {"action": "accept", "src": ["*"], "dst": ["100.64.0.0/29:8080", "0.0.0.0/0:443"]}]}"#,
    r#"{"tagOwners": {"tag:web": [], "tag:db": []},
        "acls": [{"action": "accept", "src": ["user:*@a.test"], "dst": ["tag:web:22"]}],
        "ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:web"], "users": ["localpart:*@a.test"]},
                {"action": "accept", "src": ["autogroup:tagged"], "dst": ["tag:db"], "users": ["root"]},
                {"action": "check", "src": ["u1@a.test"], "dst": ["tag:db"], "users": ["root"]},
                {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["autogroup:nonroot"]}],
        "nodeAttrs": [{"target": ["autogroup:member"], "attr": ["nextdns:x"]}, {"target": ["*"], "attr": ["funnel"]}]}"#,
    r#"{"ipsets": {"ipset:lan": ["add 10.0.0.0/8", "remove 10.1.0.0/16"]},
        "postures": {"posture:linux": ["node:os == 'linux'"]},
        "tagOwners": {"tag:db": []},
        "acls": [{"action": "accept", "src": ["*"], "dst": ["tag:db:22"], "srcPosture": ["posture:linux"]},
                 {"action": "accept", "src": ["ipset:lan"], "dst": ["autogroup:member:80"]},
                 {"action": "accept", "src": ["autogroup:tagged"], "dst": ["ipset:lan:*"]}]}"#,
    r#"{"acls": [{"action": "accept", "src": ["autogroup:danger-all"], "dst": ["autogroup:owner:22"]},
                 {"action": "accept", "src": ["*"], "dst": ["autogroup:self:*", "u1@a.test:53"]}]}"#,
];

const ROUTES: [&str; 5] = [
    "10.0.0.0/16",
    "10.1.0.0/24",
    "192.168.0.0/24",
    "0.0.0.0/0",
    "::/0",
];

#[derive(Clone, Debug)]
enum Step {
    PutNode(u64, u64, Vec<String>, Vec<IpNet>, bool),
    RemoveNode(u64),
    PutUser(u64, u8),
    RemoveUser(u64),
    SetPolicy(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let tags = prop::sample::subsequence(vec!["tag:web".to_owned(), "tag:db".to_owned()], 0..=2);
    let routes = prop::sample::subsequence(ROUTES.to_vec(), 0..=3);
    let routes =
        routes.prop_map(|routes| routes.iter().map(|route| route.parse().unwrap()).collect());
    prop_oneof![
        8 => (1..6_u64, 1..4_u64, tags, routes, any::<bool>())
            .prop_map(|(id, user, tags, routes, linux)| Step::PutNode(id, user, tags, routes, linux)),
        2 => (1..6_u64).prop_map(Step::RemoveNode),
        3 => (1..4_u64, 0..4_u8).prop_map(|(id, kind)| Step::PutUser(id, kind)),
        1 => (1..4_u64).prop_map(Step::RemoveUser),
        2 => (0..POLICIES.len()).prop_map(Step::SetPolicy),
    ]
}

fn policy(number: usize) -> Policy {
    Policy::parse(POLICIES[number], &DocumentContext::default()).unwrap()
}

fn user(id: u64, kind: u8) -> PolicyUser {
    let domain = if id == 2 { "b.test" } else { "a.test" };
    let roles = [Role::Member, Role::Owner, Role::Admin, Role::Member];
    PolicyUser {
        id,
        login_name: format!("u{id}@{domain}"),
        role: roles[usize::from(kind)],
        groups: if kind == 3 {
            vec!["group:eng".to_owned()]
        } else {
            Vec::new()
        },
    }
}

fn node(
    id: u64,
    user: u64,
    tags: Vec<String>,
    usable_routes: Vec<IpNet>,
    linux: bool,
) -> PolicyNode {
    let os = AttributeValue::Text(if linux { "linux" } else { "macos" }.to_owned());
    PolicyNode {
        id,
        user,
        tags,
        ipv4: format!("100.64.0.{id}").parse().ok(),
        ipv6: format!("fd7a:115c:a1e0::{id}").parse().ok(),
        usable_routes,
        attributes: Attributes::from([("node:os".to_owned(), os)]),
    }
}

fn apply(compiler: &mut Compiler, step: &Step) {
    match step.clone() {
        Step::PutNode(id, user, tags, routes, linux) => {
            compiler.put_node(node(id, user, tags, routes, linux));
        }
        Step::RemoveNode(id) => compiler.remove_node(id),
        Step::PutUser(id, kind) => compiler.put_user(user(id, kind)),
        Step::RemoveUser(id) => compiler.remove_user(id),
        Step::SetPolicy(number) => compiler.set_policy(policy(number)),
    }
}

/// Does what a receiver of updates does.
fn receive(held: &mut Output, update: Output) {
    fn put<K: Ord, V>(held: &mut BTreeMap<K, Option<V>>, changes: BTreeMap<K, Option<V>>) {
        for (key, value) in changes {
            match value {
                Some(value) => held.insert(key, Some(value)),
                None => held.remove(&key),
            };
        }
    }
    if update.common_filter.is_some() {
        held.common_filter = update.common_filter;
    }
    if update.derp_map.is_some() {
        held.derp_map = update.derp_map;
    }
    put(&mut held.classes, update.classes);
    put(&mut held.profiles, update.profiles);
    put(&mut held.routes, update.routes);
    put(&mut held.vias, update.vias);
    put(&mut held.nodes, update.nodes);
    for (list, ListChange { added, removed }) in update.lists {
        let elements = &mut held.lists.entry(list).or_default().added;
        elements.retain(|element| !removed.contains(element));
        elements.extend(added);
        if elements.is_empty() {
            held.lists.remove(&list);
        }
    }
}

/// Says whether two nodes are peers, looking at every rule; without chosen routers.
fn are_peers(compiler: &Compiler, left: &PolicyNode, right: &PolicyNode) -> bool {
    let (policy, users, nodes) = (compiler.policy(), compiler.users(), compiler.nodes());
    let naive = NaivePolicy {
        policy,
        users,
        nodes,
    };
    fn addresses(node: &PolicyNode) -> Vec<NaiveAddress<'_>> {
        NaivePolicy::addresses_of(node).collect()
    }
    let can = |from: &PolicyNode, to: &PolicyNode| {
        policy
            .rules
            .iter()
            .filter(|rule| rule.via.is_empty())
            .any(|rule| {
                let is_own = rule.destination_kind != crate::policy::DestinationKind::Named;
                let has = |named: &crate::policy::PosturedSelector, node: &PolicyNode| {
                    let own = addresses(node).iter().any(|address| {
                        named.selector == crate::selector::Selector::Any
                            && named.postures.is_empty()
                            || naive.selects_address(named, *address, None)
                    });
                    let routed = match named.selector {
                        crate::selector::Selector::Range(range) if !is_own => node
                            .subnet_routes()
                            .any(|route| range.overlaps(&(*route).into())),
                        _ => false,
                    };
                    own || routed
                };
                let is_source = rule.sources.iter().any(|source| has(source, from));
                let named = rule.destinations.iter().any(|one| has(one, to));
                let own = is_own
                    && addresses(from).iter().any(|from| {
                        addresses(to)
                            .iter()
                            .any(|to| reaches(naive, rule, *from, *to))
                    });
                is_source && (named || own || (to.is_exit() && rule.covers_internet))
            })
    };
    can(left, right) || can(right, left)
}

/// Says the same from the output.
fn see_each_other(output: &Output, compiler: &Compiler, left: u64, right: u64) -> bool {
    let class = |id| {
        output.classes[&output.nodes[&id].unwrap().class]
            .as_deref()
            .unwrap()
    };
    let owner = |id: u64| {
        let node = &compiler.nodes()[&id];
        (node.tags.is_empty() && compiler.users().contains_key(&node.user)).then_some(node.user)
    };
    let own = owner(left).is_some() && owner(left) == owner(right);
    class(left).is_peer_of(class(right)) || (own && (class(left).sees_own || class(right).sees_own))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn updates_lead_to_what_a_fresh_compiler_says(
        steps in prop::collection::vec((step(), any::<bool>()), 1..40),
    ) {
        let mut compiler = Compiler::new(policy(0));
        let mut held = compiler.full_output();
        compiler.take_changes();
        for (step, looks) in &steps {
            apply(&mut compiler, step);
            if *looks {
                receive(&mut held, compiler.take_changes());
            }
        }
        receive(&mut held, compiler.take_changes());
        prop_assert_eq!(&held, &compiler.full_output());
        let mut fresh = Compiler::new(compiler.policy().clone());
        compiler.users().values().for_each(|user| fresh.put_user(user.clone()));
        compiler.nodes().values().for_each(|node| fresh.put_node(node.clone()));
        prop_assert_eq!(held, fresh.full_output());
    }

    #[test]
    fn peers_are_those_a_look_at_every_rule_finds(
        number in 0..POLICIES.len(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut compiler = Compiler::new(policy(number));
        (1..4).for_each(|id| compiler.put_user(user(id, 0)));
        steps.iter().filter(|step| !matches!(step, Step::SetPolicy(_))).for_each(|step| apply(&mut compiler, step));
        let output = compiler.full_output();
        // Chosen routers make peers besides.
        prop_assume!(!POLICIES[number].contains("via"));
        for left in compiler.nodes().values() {
            for right in compiler.nodes().values().filter(|right| right.id > left.id) {
                prop_assert_eq!(
                    see_each_other(&output, &compiler, left.id, right.id),
                    are_peers(&compiler, left, right),
                    "{} and {} under {}", left.id, right.id, POLICIES[number]
                );
            }
        }
    }
}

#[test]
fn a_change_of_one_node_sends_only_what_concerns_it() {
    let mut compiler = Compiler::new(policy(2));
    for id in 1..4 {
        compiler.put_user(user(id, 0));
    }
    for id in 1..100 {
        compiler.put_node(node(id, 1 + id % 3, Vec::new(), Vec::new(), true));
    }
    compiler.take_changes();
    compiler.put_node(node(100, 1, Vec::new(), Vec::new(), true));
    let changes = compiler.take_changes();
    assert_eq!(
        (
            changes.nodes.len(),
            changes.classes.len(),
            changes.profiles.len()
        ),
        (1, 0, 0)
    );
    let elements: usize = changes
        .lists
        .values()
        .map(|list| list.added.len() + list.removed.len())
        .sum();
    assert_eq!(elements, 2 * changes.lists.len());
    compiler.put_node(node(100, 1, Vec::new(), Vec::new(), true));
    assert!(compiler.take_changes().is_empty());
}

#[test]
fn who_comes_or_is_renamed_changes_only_the_profiles_that_name_people() {
    let text = r#"{"tagOwners": {"tag:web": [], "tag:db": []}, "acls": [],
        "ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:web"], "users": ["localpart:*@a.test"]},
                {"action": "accept", "src": ["autogroup:member"], "dst": ["tag:db"], "users": ["root"]}]}"#;
    let mut compiler = Compiler::new(Policy::parse(text, &DocumentContext::default()).unwrap());
    (1..4).for_each(|id| compiler.put_user(user(id, 0)));
    for (id, tag) in [(1, "tag:web"), (2, "tag:db")] {
        compiler.put_node(node(id, 1, vec![tag.to_owned()], Vec::new(), true));
    }
    (1..3).for_each(|id| compiler.put_node(node(2 + id, id, Vec::new(), Vec::new(), true)));
    let first = compiler.take_changes();
    let web = first.nodes[&1].unwrap().profile;
    // A second device of a user.
    compiler.put_node(node(5, 1, Vec::new(), Vec::new(), true));
    assert!(compiler.take_changes().profiles.is_empty());
    // The first device of another: its own profile, and those that name it.
    compiler.put_node(node(6, 3, Vec::new(), Vec::new(), true));
    let changes = compiler.take_changes();
    let own = changes.nodes[&6].unwrap().profile;
    let changed: BTreeSet<_> = changes.profiles.keys().copied().collect();
    assert_eq!(changed, BTreeSet::from([web, own]));
    // Another name.
    let mut renamed = user(3, 0);
    renamed.login_name = "cleo@a.test".to_owned();
    compiler.put_user(renamed);
    let changes = compiler.take_changes();
    let changed: BTreeSet<_> = changes.profiles.keys().copied().collect();
    assert_eq!(changed, BTreeSet::from([web, own]));
}

#[test]
fn macos_devices_alone_are_told_of_the_one_route() {
    let policy = Policy::parse(
        r#"{"OneCGNATRoute": "mac-always"}"#,
        &DocumentContext::default(),
    )
    .unwrap();
    let mut compiler = Compiler::new(policy);
    for (id, linux) in [(1, true), (2, false)] {
        compiler.put_node(node(id, 1, Vec::new(), Vec::new(), linux));
    }
    let output = compiler.full_output();
    let names = |id| {
        let profile = output.nodes[&id].unwrap().profile;
        let capabilities = &output.profiles[&profile].as_ref().unwrap().capabilities;
        capabilities
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!((names(1), names(2)), (vec![], vec!["one-cgnat?v=true"]));
}

#[test]
fn explanations_name_the_rules_that_allow_and_those_that_come_near() {
    let text = r#"{"postures": {"posture:linux": ["node:os == 'linux'"]}, "tagOwners": {"tag:web": []},
        "acls": [
            {"action": "accept", "src": ["u1@a.test"], "dst": ["tag:web:22"], "srcPosture": ["posture:linux"]},
            {"action": "accept", "src": ["u2@b.test"], "dst": ["tag:web:80"]},
            {"action": "accept", "src": ["u1@a.test"], "dst": ["u2@b.test:53"]}]}"#;
    let mut compiler = Compiler::new(Policy::parse(text, &DocumentContext::default()).unwrap());
    (1..3).for_each(|id| compiler.put_user(user(id, 0)));
    compiler.put_node(node(1, 1, Vec::new(), Vec::new(), true));
    compiler.put_node(node(2, 1, Vec::new(), Vec::new(), false));
    compiler.put_node(node(3, 3, vec!["tag:web".to_owned()], Vec::new(), true));
    let lines = |uses: &[RuleUse]| uses.iter().map(|used| used.line).collect::<Vec<_>>();
    let linux = compiler.explain_access(1, 3).unwrap();
    assert_eq!(lines(&linux.allowed_by), [3]);
    assert_eq!(linux.allowed_by[0].rule, "u1@a.test → tag:web");
    assert_eq!(linux.allowed_by[0].allows, ["any:22"]);
    let other = compiler.explain_access(2, 3).unwrap();
    assert!(other.allowed_by.is_empty());
    assert_eq!(
        (lines(&other.posture_missing), lines(&other.only_source)),
        (vec![3], vec![5])
    );
    assert_eq!(lines(&other.only_destination), [4]);
    assert!(compiler.explain_access(1, 9).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn preview_lists_just_the_pairs_whose_rules_differ(
        before in 0..POLICIES.len(), after in 0..POLICIES.len(), steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut compiler = Compiler::new(policy(before));
        (1..4).for_each(|id| compiler.put_user(user(id, 0)));
        steps.iter().filter(|step| !matches!(step, Step::SetPolicy(_))).for_each(|step| apply(&mut compiler, step));
        let preview = compiler.preview_policy(&policy(after));
        let mut other = Compiler::new(policy(after));
        compiler.users().values().for_each(|user| other.put_user(user.clone()));
        compiler.nodes().values().for_each(|node| other.put_node(node.clone()));
        let allowed = |compiler: &Compiler, source, destination| {
            let uses = compiler.explain_access(source, destination).unwrap().allowed_by;
            let words = uses.into_iter().flat_map(|used| {
                // What is only behind a router is another thing than the router itself.
                let behind = used.through_routes.join(", ");
                used.allows.into_iter().map(move |allowed| (allowed, behind.clone()))
            });
            words.collect::<BTreeSet<_>>()
        };
        let nodes: Vec<_> = compiler.nodes().keys().copied().collect();
        let pairs = nodes.iter().flat_map(|source| nodes.iter().map(move |to| (*source, *to)));
        let differing: BTreeSet<_> = pairs
            .filter(|(source, to)| source != to)
            .filter(|(source, to)| allowed(&compiler, *source, *to) != allowed(&other, *source, *to))
            .collect();
        prop_assert_eq!(preview.total, differing.len() as u64);
        prop_assert_eq!(preview.pairs.keys().copied().collect::<BTreeSet<_>>(), differing);
    }
}
