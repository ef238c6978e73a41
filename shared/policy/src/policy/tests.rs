//! What is accepted, and what each mistake is told.

use super::*;

fn problems(text: &str) -> Vec<Problem> {
    Policy::parse(text).unwrap_err()
}

#[test]
fn comments_trailing_commas_and_any_case_are_read() {
    let policy = Policy::parse(
        r#"// ours
        {
            "Groups": {"group:eng": ["amira@example.com",],},
            "tagOwners": {"tag:web": ["group:eng"]}, /* more */
            "HOSTS": {"db": "10.0.0.5"},
            "ACLs": [{"action": "accept", "src": ["group:eng", "db"], "dst": ["tag:web:80,443", "db:*"]}],
        }"#,
    );
    let policy = policy.unwrap();
    assert_eq!(policy.rules.len(), 2);
    assert_eq!(policy.rules[0].ports.len(), 2);
    assert_eq!(
        policy.rules[1].destination,
        Selector::Prefix("10.0.0.5/32".parse().unwrap())
    );
}

#[test]
fn document_without_content_or_rules_allows_all_and_an_empty_list_nothing() {
    for text in ["", "  // nothing\n", "{}", r#"{"acls": null}"#] {
        assert_eq!(
            Policy::parse(text).unwrap().rules,
            Policy::allow_all().rules,
            "{text}"
        );
    }
    assert!(Policy::parse(r#"{"acls": []}"#).unwrap().rules.is_empty());
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (text, line, message) in [
        ("{\n \"aclz\": []}", 2, "unknown field: \"aclz\""),
        (
            "{\"acls\": [],\n\"acls\": []}",
            2,
            "duplicate field: \"acls\"",
        ),
        (
            r#"{"acls":[{"action":"accept","src":["group:x"],"dst":["*:*"]}]}"#,
            1,
            "group not found: \"group:x\"",
        ),
        (
            r#"{"acls":[{"action":"accept","src":["tag:x"],"dst":["*:*"]}]}"#,
            1,
            "tag not found: \"tag:x\"",
        ),
        (
            r#"{"acls":[{"action":"deny","src":["*"],"dst":["*:*"]}]}"#,
            1,
            "action=\"deny\" is not supported",
        ),
        (
            r#"{"acls":[{"action":"accept","src":["*"],"dst":["*:ssh"]}]}"#,
            1,
            "dst=\"*:ssh\": port range \"ssh\": invalid first integer",
        ),
        (
            r#"{"acls":[{"action":"accept","src":["autogroup:self"],"dst":["*:*"]}]}"#,
            1,
            "\"autogroup:self\" not valid on the src side of a rule",
        ),
        (
            r#"{"acls":[{"action":"accept","src":["10.0.0.1"],"dst":["autogroup:self:*"]}]}"#,
            1,
            "autogroup:self can only be used with users, groups, or supported autogroups",
        ),
        (
            r#"{"acls":[{"action":"accept","src":["nohost"],"dst":["*:*"]}]}"#,
            1,
            "host not found: \"nohost\"",
        ),
        (
            r#"{"groups":{"group:a":["group:b"]}}"#,
            1,
            "member \"group:b\" of \"group:a\" is not a login name",
        ),
        (
            r#"{"grants":[]}"#,
            1,
            "the section \"grants\" is not supported by this release",
        ),
    ] {
        let found = problems(text);
        assert!(
            found
                .iter()
                .any(|problem| problem.message == message && problem.line == line),
            "{text}: {found:?}"
        );
    }
    assert!(problems("{\n \"aclz\": []}")[0].hint.contains("acls"));
}

#[test]
fn hostile_documents_are_refused_without_harm() {
    let deep = format!("{{\"acls\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for text in [
        "{",
        "[]",
        "{'a':1}",
        "{\"acls\": [,]}",
        "{\"acls\" [}",
        "\u{feff}{}",
        "# x\n{}",
        &deep,
    ] {
        assert!(
            Policy::parse(text).is_err(),
            "{}",
            &text[..text.len().min(20)]
        );
    }
    let long = format!("{{}}{}", " ".repeat(17 << 20));
    assert!(problems(&long)[0].message.contains("16 MiB"));
}
