//! What compiling costs: everything at once, and one node more.
//!
//! The tailnet: seven of ten nodes belong to users with a few devices each, the rest carry tags, one in fifty is a
//! router. The rules name groups, tags, users, prefixes and `*`, as documents do; every tenth is followed by an SSH rule,
//! some of them by people's own names, and by an attribute.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures")]

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use bowline_policy::{Compiler, DocumentContext, Policy, PolicyNode, PolicyUser};
use divan::{Bencher, black_box};

const NODES: [u64; 4] = [100, 1_000, 10_000, 100_000];
const RULES: [u64; 3] = [10, 100, 1_000];

fn main() {
    divan::main();
    growth();
}

/// Every combination of sizes.
fn sizes() -> impl Iterator<Item = (u64, u64)> {
    RULES
        .iter()
        .flat_map(|rules| NODES.iter().map(move |nodes| (*nodes, *rules)))
}

#[divan::bench(args = sizes(), sample_count = 5, sample_size = 1)]
fn full(bencher: Bencher<'_, '_>, (nodes, rules): (u64, u64)) {
    let (policy, users, nodes) = (policy(rules), users(nodes), inventory(nodes));
    bencher
        .with_inputs(|| (policy.clone(), users.clone(), nodes.clone()))
        .bench_local_values(|(policy, users, nodes)| black_box(compiled(policy, users, nodes)));
}

#[divan::bench(args = sizes(), sample_count = 100, sample_size = 1)]
fn one_node(bencher: Bencher<'_, '_>, (nodes, rules): (u64, u64)) {
    let mut compiler = compiled(policy(rules), users(nodes), inventory(nodes));
    compiler.take_changes();
    let mut next = nodes;
    bencher.bench_local(|| {
        next += 1;
        compiler.put_node(node(next));
        black_box(compiler.take_changes())
    });
}

fn compiled(policy: Policy, users: Vec<PolicyUser>, nodes: Vec<PolicyNode>) -> Compiler {
    let mut compiler = Compiler::new(policy);
    users.into_iter().for_each(|user| compiler.put_user(user));
    nodes.into_iter().for_each(|node| compiler.put_node(node));
    compiler
}

/// Prints how both costs grow with the number of nodes.
#[expect(clippy::print_stdout, reason = "a benchmark's output")]
fn growth() {
    println!(
        "\n{:>8} {:>8} {:>12} {:>14} {:>12} {:>12}",
        "rules", "nodes", "full", "full per node", "one node", "slowest"
    );
    for (nodes, rules) in sizes() {
        let (policy, users, all) = (policy(rules), users(nodes), inventory(nodes));
        let start = Instant::now();
        let mut compiler = compiled(policy, users, all);
        let output = black_box(compiler.full_output());
        let full = start.elapsed();
        compiler.take_changes();
        let mut times: Vec<_> = (1..=101)
            .map(|more| {
                let node = node(nodes + more);
                let start = Instant::now();
                compiler.put_node(node);
                black_box(compiler.take_changes());
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let each = full / u32::try_from(nodes).unwrap_or(u32::MAX);
        println!(
            "{rules:>8} {nodes:>8} {full:>12.1?} {each:>14.2?} {:>12.1?} {:>12.1?}   {} classes",
            times[50],
            times[100],
            output.classes.len()
        );
    }
}

fn users(nodes: u64) -> Vec<PolicyUser> {
    let user = |id| PolicyUser {
        id,
        login_name: format!("user{id}@example.com"),
        ..PolicyUser::default()
    };
    (1..=nodes / 4 + 1).map(user).collect()
}

fn inventory(nodes: u64) -> Vec<PolicyNode> {
    (1..=nodes).map(node).collect()
}

fn node(id: u64) -> PolicyNode {
    let tags = match id % 10 {
        0 | 1 => vec![format!("tag:t{}", id % 97)],
        2 => vec![format!("tag:t{}", id % 89), format!("tag:t{}", id % 83)],
        _ => Vec::new(),
    };
    let low = u32::try_from(id).unwrap_or(u32::MAX);
    let [_, a, b, c] = low.to_be_bytes();
    let route = id
        .is_multiple_of(50)
        .then(|| format!("10.{b}.{c}.0/24").parse().ok())
        .flatten();
    PolicyNode {
        id,
        user: id % (id / 4 + 1) + 1,
        tags,
        ipv4: Some(Ipv4Addr::from(0x6440_0000 + low)),
        ipv6: Some(Ipv6Addr::from(
            0xfd7a_115c_a1e0_0000_0000_0000_0000_0000 + u128::from(low),
        )),
        usable_routes: route.into_iter().collect(),
        attributes: [(
            "node:build".to_owned(),
            bowline_policy::AttributeValue::Number(f64::from(a)),
        )]
        .into(),
    }
}

/// Returns a document's policy: a hundred tags, fifty groups of twenty users, and the rules.
fn policy(rules: u64) -> Policy {
    let mut text = String::from("{\"tagOwners\": {");
    (0..100).for_each(|tag| text.push_str(&format!("\"tag:t{tag}\": [],")));
    text.push_str("}, \"groups\": {");
    for group in 0..50_u64 {
        let members =
            (0..20).map(|member| format!("\"user{}@example.com\"", 1 + group * 13 + member * 7));
        text.push_str(&format!(
            "\"group:g{group}\": [{}],",
            members.collect::<Vec<_>>().join(",")
        ));
    }
    text.push_str("}, \"acls\": [");
    for rule in 0..rules {
        let (group, tag, port) = (rule % 50, rule % 100, 1 + rule % 60_000);
        let (source, destination) = match rule % 10 {
            0 => ("autogroup:member".to_owned(), format!("tag:t{tag}")),
            1 => ("*".to_owned(), format!("tag:t{tag}")),
            2 => (format!("tag:t{tag}"), format!("tag:t{}", (tag + 7) % 100)),
            3 => (
                format!("group:g{group}"),
                format!("10.{}.0.0/16", rule % 250),
            ),
            4 => (
                format!("user{}@example.com", rule % 997 + 1),
                "autogroup:tagged".to_owned(),
            ),
            5 => ("autogroup:member".to_owned(), "autogroup:self".to_owned()),
            6 => (format!("group:g{group}"), "*".to_owned()),
            _ => (format!("group:g{group}"), format!("tag:t{tag}")),
        };
        text.push_str(&format!(
            "{{\"action\":\"accept\",\"src\":[\"{source}\"],\"dst\":[\"{destination}:{port}\"]}},"
        ));
    }
    text.push_str("], \"ssh\": [");
    for rule in 0..rules.div_ceil(10) {
        let (group, tag) = (rule % 50, rule % 100);
        let users = if rule % 3 == 0 {
            "localpart:*@example.com"
        } else {
            "root"
        };
        text.push_str(&format!(
            "{{\"action\":\"accept\",\"src\":[\"group:g{group}\",\"autogroup:member\"],\"dst\":[\"tag:t{tag}\"],\"users\":[\"{users}\"]}},"
        ));
    }
    text.push_str("], \"nodeAttrs\": [");
    for rule in 0..rules.div_ceil(10) {
        let (group, tag) = (rule % 50, rule % 100);
        text.push_str(&format!(
            "{{\"target\":[\"group:g{group}\",\"tag:t{tag}\"],\"attr\":[\"nextdns:{rule}\"]}},"
        ));
    }
    text.push_str("]}");
    Policy::parse(&text, &DocumentContext::default()).expect("a valid document")
}
