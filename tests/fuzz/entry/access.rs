//! A small tailnet and some rules, made of any bytes: who reaches what by the compiled filters, and who sees whom, is
//! what a look at each pair of nodes and each rule says.

use bowline_policy::{
    Class, ClassFilterRule, Compiler, DestinationAddress, DocumentContext, ListId, Output, Policy,
    PolicyNode, PolicyUser, Ports,
};

/// Sources and destinations; the last one is a destination only, and not for each source.
const SELECTORS: [&str; 11] = [
    "*",
    "u1@a.test",
    "u2@a.test",
    "group:g",
    "tag:a",
    "tag:b",
    "autogroup:member",
    "autogroup:tagged",
    "100.64.0.1",
    "100.64.0.2/31",
    "autogroup:self",
];
const SELF: usize = 10;
const PORTS: [u16; 3] = [22, 80, 443];

/// Bytes that make tailnets and rules of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0; 16], (0..64).collect(), (0..200).rev().collect()];
    for first in 0..11 {
        for second in 0..11 {
            seeds.push(vec![3, 0, 1, 2, 3, first, second, 0, second, first, 1]);
        }
    }
    seeds
}

/// A rule: from whom, to what, on which port.
type Rule = (usize, usize, u16);

/// Compares the compiled with the naive.
pub fn run(input: &[u8]) {
    let mut bytes = input.iter().copied();
    let count = u64::from(bytes.next().unwrap_or_default() % 5) + 1;
    let nodes: Vec<_> = (1..=count)
        .map(|id| node(id, bytes.next().unwrap_or_default()))
        .collect();
    let mut rules: Vec<Rule> = Vec::new();
    while let (Some(from), Some(to), Some(port)) = (bytes.next(), bytes.next(), bytes.next()) {
        let (from, to) = (usize::from(from) % SELF, usize::from(to) % SELECTORS.len());
        let is_user = [0, 1, 2, 3, 6].contains(&from);
        if rules.len() < 12 && (to != SELF || is_user) {
            rules.push((from, to, PORTS[usize::from(port) % PORTS.len()]));
        }
    }
    let mut compiler = Compiler::new(policy(&rules));
    for id in 1..3 {
        compiler.put_user(PolicyUser {
            id,
            login_name: format!("u{id}@a.test"),
            ..PolicyUser::default()
        });
    }
    nodes
        .iter()
        .for_each(|node| compiler.put_node(node.clone()));
    let output = compiler.full_output();
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            let allowed = |port| {
                rules
                    .iter()
                    .any(|rule| rule.2 == port && allows(*rule, from, to))
            };
            for port in PORTS {
                assert_eq!(
                    filters(&output, from, to, port),
                    allowed(port),
                    "{} to {} on {port} under {rules:?}",
                    from.id,
                    to.id
                );
            }
            let any = |a, b| rules.iter().any(|rule| allows(*rule, a, b));
            assert_eq!(
                see_each_other(&output, from, to),
                any(from, to) || any(to, from),
                "{} and {} under {rules:?}",
                from.id,
                to.id
            );
        }
    }
}

fn node(id: u64, kind: u8) -> PolicyNode {
    let tags: &[&str] = match kind % 6 {
        0 | 1 => &[],
        2 => &["tag:a"],
        3 => &["tag:b"],
        4 => &["tag:a", "tag:b"],
        _ => &[],
    };
    PolicyNode {
        id,
        user: u64::from(kind / 6 % 2) + 1,
        tags: tags.iter().map(ToString::to_string).collect(),
        ipv4: format!("100.64.0.{id}").parse().ok(),
        ipv6: format!("fd7a:115c:a1e0::{id}").parse().ok(),
        ..PolicyNode::default()
    }
}

fn policy(rules: &[Rule]) -> Policy {
    let rule = |(from, to, port): &Rule| {
        format!(
            r#"{{"action":"accept","src":["{}"],"dst":["{}:{port}"]}}"#,
            SELECTORS[*from], SELECTORS[*to]
        )
    };
    let rules: Vec<_> = rules.iter().map(rule).collect();
    let text = format!(
        r#"{{"groups":{{"group:g":["u1@a.test","u2@a.test"]}},"tagOwners":{{"tag:a":[],"tag:b":[]}},"acls":[{}]}}"#,
        rules.join(",")
    );
    Policy::parse(&text, &DocumentContext::default()).expect("a valid document")
}

/// Says whether a rule lets one node reach another, by what the language says.
fn allows((from, to, _): Rule, source: &PolicyNode, destination: &PolicyNode) -> bool {
    if to == SELF {
        let owned = source.tags.is_empty() && destination.tags.is_empty();
        return is(from, source) && owned && source.user == destination.user;
    }
    is(from, source) && is(to, destination)
}

fn is(selector: usize, node: &PolicyNode) -> bool {
    let owned = node.tags.is_empty();
    let tagged = |tag: &str| node.tags.iter().any(|own| own == tag);
    match selector {
        0 => true,
        1 => owned && node.user == 1,
        2 => owned && node.user == 2,
        3 | 6 => owned,
        4 => tagged("tag:a"),
        5 => tagged("tag:b"),
        7 => !owned,
        8 => node.id == 1,
        9 => node.id == 2 || node.id == 3,
        _ => false,
    }
}

fn class<'o>(output: &'o Output, node: &PolicyNode) -> &'o Class {
    let membership = output.nodes[&node.id].expect("every node is placed");
    output.classes[&membership.class]
        .as_ref()
        .expect("every class is there")
}

/// Says whether the filter that the destination is told lets a connection in, by IPv4.
fn filters(output: &Output, source: &PolicyNode, destination: &PolicyNode, port: u16) -> bool {
    let common = output.common_filter.as_ref().expect("in a full output");
    let rules = common.iter().chain(&class(output, destination).filter);
    let own = destination.ipv4.expect("an address").to_string();
    rules.into_iter().any(|rule: &ClassFilterRule| {
        let user = if rule.per_user { destination.user } else { 0 };
        let named = rule.destinations.iter().any(|wanted| {
            let Ports { first, last } = wanted.ports;
            let here = match &wanted.address {
                DestinationAddress::Own => true,
                DestinationAddress::Literal(text) => text == "*" || contains(text, &own),
            };
            here && first <= port && port <= last
        });
        let user_fits = !rule.per_user || destination.tags.is_empty();
        named
            && user_fits
            && has(
                output,
                ListId {
                    id: rule.sources,
                    user,
                },
                source,
            )
    })
}

fn has(output: &Output, list: ListId, source: &PolicyNode) -> bool {
    let own = source.ipv4.expect("an address").to_string();
    let found = output.lists.get(&list);
    found.is_some_and(|list| list.added.iter().any(|element| contains(element, &own)))
}

fn contains(element: &str, address: &str) -> bool {
    let number = |text: &str| text.parse::<std::net::Ipv4Addr>().map(u32::from);
    let address = number(address).expect("an IPv4 address");
    if let Some((low, high)) = element.split_once('-') {
        let (low, high) = (number(low), number(high));
        return matches!((low, high), (Ok(low), Ok(high)) if low <= address && address <= high);
    }
    let (base, bits) = element.split_once('/').unwrap_or((element, "32"));
    let bits: u32 = bits.parse().expect("a length");
    number(base).is_ok_and(|base| {
        base >> (32 - bits.min(31)) == address >> (32 - bits.min(31))
            && (bits < 32 || base == address)
    })
}

fn see_each_other(output: &Output, left: &PolicyNode, right: &PolicyNode) -> bool {
    let (one, two) = (class(output, left), class(output, right));
    let own = left.tags.is_empty() && right.tags.is_empty() && left.user == right.user;
    one.is_peer_of(two) || (own && (one.sees_own || two.sees_own))
}
