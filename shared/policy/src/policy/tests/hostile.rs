//! Documents that were made to do harm: each is refused with a place, or handled, in a bounded time.

use std::time::{Duration, Instant};

use super::parse;
use crate::{Applicant, Compiler, PolicyNode, PolicyUser, refused_tags};

/// A deadline that no machine misses: a debug build takes seconds, and hours for what grows with the square of a
/// document's size.
const LONGEST: Duration = Duration::from_secs(600);

/// Returns what is said of a document first, or `accepted`.
fn said(text: &str) -> String {
    let started = Instant::now();
    let answer = match parse(text) {
        Ok(_) => "accepted".to_owned(),
        Err(problems) => {
            assert!(problems.len() <= 50);
            assert!(
                problems
                    .iter()
                    .all(|problem| problem.to_string().len() < 4000)
            );
            problems[0].to_string()
        }
    };
    assert!(
        started.elapsed() < LONGEST,
        "{:?}: {answer}",
        started.elapsed()
    );
    answer
}

#[test]
fn what_can_not_be_read_is_refused_where_it_is() {
    let deep = format!(
        "{{\"acls\":\n{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let deep_after_a_quote = deep.replace('\n', "// \"\n");
    let nested = format!("{{\"acls\":\n{}{}}}", "[".repeat(100), "]".repeat(100));
    for (text, answer) in [
        ("{", "line 1, column 1: "),
        ("[]", "line 1, column 1: the document is not an object"),
        ("{'a':1}", "line 1, column 2: "),
        ("{\n  \"acls\": [,]}", "line 2, column 12: "),
        ("{\n\"acls\" [}", "line 2, column 8: "),
        ("{} {}", "line 1, column 4: "),
        ("{}\n/* no end", "line 2, column 1: "),
        ("# x\n{}", "line 1, column 1: "),
        (
            &deep,
            "line 2, column 511: nesting is deeper than 64 levels",
        ),
        (
            &deep_after_a_quote,
            "line 2, column 511: nesting is deeper than 64 levels",
        ),
        (
            &nested,
            "line 2, column 64: nesting is deeper than 64 levels",
        ),
        (
            &format!("{{}}{}", " ".repeat(50 << 20)),
            "the document is longer than 16 MiB",
        ),
        (
            "{\n  \"group\": {}}",
            "line 2, column 3: unknown field: \"group\" (did you mean \"groups\"?)",
        ),
        (
            "{\"ssh\": [\n {\"action\": \"accept\", \"é\": 1, \"user\": []}]}",
            "line 2, column 23: unknown field: \"é\"",
        ),
        (
            "{\"hosts\": {\"a\": \"10.0.0.1\",\n\"a\": \"10.0.0.2\"}}",
            "line 2, column 1: duplicate key: \"a\"",
        ),
        (
            "{\"acls\": [],\n \"ACLs\": []}",
            "line 2, column 2: duplicate field: \"ACLs\"",
        ),
        (
            "{\"groups\": {\"group:a\": [\n\"group:a\"]}}",
            "line 2, column 1: groups[\"group:a\"]: \"group:a\": group members cannot be recursive (list the users of that group here too)",
        ),
        (
            "{\"ipsets\": {\"ipset:a\": [\n\"ipset:a\"]}}",
            "line 2, column 1: \"ipset:a\": \"ipset:a\" leads back to itself",
        ),
    ] {
        let found = said(text);
        assert!(found.starts_with(answer), "{found}, not {answer}");
    }
}

#[test]
fn brackets_in_comments_are_no_nesting() {
    let brackets = "// [\n".repeat(1000);
    assert_eq!(
        said(&format!("{brackets}{{\"acls\": [] /* {{[ \" */ }}")),
        "accepted"
    );
}

fn list(count: usize, element: impl Fn(usize) -> String) -> String {
    (0..count).map(element).collect::<Vec<_>>().join(",")
}

fn rule(sources: &str, destinations: &str) -> String {
    format!(r#"{{"acls": [{{"action": "accept", "src": [{sources}], "dst": [{destinations}]}}]}}"#)
}

/// One of very many addresses that do not touch, after a word and before ports.
fn address(before: &str, n: usize, after: &str) -> String {
    let n = 2 * n;
    format!(
        "\"{before}10.{}.{}.{}{after}\"",
        n >> 16 & 255,
        n >> 8 & 255,
        n & 255
    )
}

fn check(cases: &[(&str, String)]) {
    for (answer, text) in cases {
        let found = said(text);
        let fits = found.starts_with("line 1, column ") && found.contains(answer);
        assert!(found == *answer || fits, "{found}, not {answer}");
    }
}

#[test]
fn very_many_rules_ports_and_keys_are_handled_or_refused_in_time() {
    let ports = list(300_000, |n| (n % 65_535 + 1).to_string());
    let acl = |n: usize| {
        let address = address("", n, &format!(":{}", n % 1000 + 1));
        format!(r#"{{"action":"accept","src":["u{n}@example.com"],"dst":[{address}]}}"#)
    };
    let long = |length: usize| "k".repeat(length);
    check(&[
        (
            "accepted",
            format!(r#"{{"acls": [{}]}}"#, list(100_000, acl)),
        ),
        ("accepted", rule("\"*\"", &format!("\"*:{ports}\""))),
        ("dst=\"*:1,2,3", rule("\"*\"", &format!("\"*:{ports},x\""))),
        (
            "column 2: unknown field: \"k0\"",
            format!("{{{}}}", list(200_000, |n| format!("\"k{n}\":1"))),
        ),
        (
            "column 2: a key is longer than 256 bytes",
            format!("{{\"{}\": 1}}", long(8 << 20)),
        ),
        (
            "column 12: a key is longer than 256 bytes",
            format!(
                r#"{{"groups":{{"group:{}":[{}]}}}}"#,
                long(4 << 20),
                list(100_000, |_| "\"x\"".to_owned())
            ),
        ),
    ]);
}

#[test]
fn few_bytes_that_mean_very_much_are_refused() {
    let sources = list(50_000, |n| address("", n, ""));
    let destinations = list(50_000, |n| address("", n, ":*"));
    let set = list(20_000, |n| address("", n, ""));
    let copies = list(20_000, |n| format!(r#""ipset:b{n}":["ipset:a"]"#));
    let added = list(20_000, |n| address("add ", n, ""));
    let removed = list(20_000, |n| address("remove ", n, ""));
    let too_many = "the document means more than 2097152 sources and addresses";
    check(&[
        (too_many, rule(&sources, &destinations)),
        (
            "accepted",
            format!(
                r#"{{"ipsets":{{"ipset:a":[{}]}}}}"#,
                list(200_000, |n| address("", n, ""))
            ),
        ),
        (
            too_many,
            format!(r#"{{"ipsets":{{"ipset:a":[{added},{removed}]}}}}"#),
        ),
        (
            too_many,
            format!(r#"{{"ipsets":{{"ipset:a":[{set}],{copies}}}}}"#),
        ),
    ]);
}

#[test]
fn long_chains_and_cycles_of_tag_owners_are_followed_to_their_end() {
    let chain = |last: &str| {
        let links: Vec<_> = (0..100_000)
            .map(|n| format!("\"tag:t{n}\":[\"tag:t{}\"]", n + 1))
            .collect();
        format!(
            r#"{{"tagOwners":{{{},"tag:t100000":["{last}"]}}}}"#,
            links.join(",")
        )
    };
    let applicant = Applicant {
        user: Some(PolicyUser {
            login_name: "u@example.com".to_owned(),
            ..PolicyUser::default()
        }),
        ..Applicant::default()
    };
    let first = ["tag:t0".to_owned()];
    let owned = parse(&chain("u@example.com")).unwrap();
    assert!(refused_tags(&owned, &applicant, &first).is_empty());
    let cyclic = parse(&chain("tag:t0")).unwrap();
    assert_eq!(refused_tags(&cyclic, &applicant, &first), first);
}

#[test]
fn work_of_compiling_very_many_rules_grows_with_their_number() {
    let rules: Vec<_> = (0..100_000)
        .map(|n| {
            format!(
                r#"{{"action":"accept","src":["u{}@example.com"],"dst":["100.64.{}.{}:{}"]}}"#,
                n % 500,
                n >> 8 & 63,
                n & 255,
                n % 1000 + 1
            )
        })
        .collect();
    let policy = parse(&format!(r#"{{"acls": [{}]}}"#, rules.join(","))).unwrap();
    let mut compiler = Compiler::new(policy);
    // One by its source, and one by its destination: what a node may cost at most.
    assert_eq!(compiler.indexed_rules(), 2 * rules.len());
    for id in 1..=20 {
        compiler.put_user(PolicyUser {
            id,
            login_name: format!("u{id}@example.com"),
            ..PolicyUser::default()
        });
        compiler.put_node(PolicyNode {
            id,
            user: id,
            ipv4: format!("100.64.0.{id}").parse().ok(),
            ..PolicyNode::default()
        });
    }
    let output = compiler.full_output();
    assert_eq!(output.nodes.len(), 20);
    let filters: usize = output
        .classes
        .values()
        .flatten()
        .map(|class| class.filter.len())
        .sum();
    assert!(filters <= rules.len(), "{filters}");
}
