//! Any bytes as a policy document.

use std::collections::BTreeSet;

use bowline_policy::{Compiler, DocumentContext, Policy, PolicyNode, PolicyUser, failed_tests};

/// Documents with every section, and odd ones.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        r#"// a comment
        {"groups": {"group:a": ["u1@a.test", "u2@a.test"]}, "hosts": {"h": "10.0.0.1", "n": "10.0.0.0/8"},
         "tagOwners": {"tag:a": ["group:a"], "tag:b": ["tag:a"]}, "ipsets": {"ipset:s": ["add 10.0.0.0/8", "remove host:h"]},
         "acls": [{"action": "accept", "src": ["group:a", "h"], "proto": "tcp", "dst": ["tag:a:22,80-90", "[fd7a::1]:*", "ipset:s:1"]},],}"#,
        r#"{"tagOwners": {"tag:a": []}, "postures": {"posture:p": ["node:os IN ['linux', 'macos']", "node:tsVersion >= '1.40'"]},
         "grants": [{"src": ["autogroup:member"], "dst": ["tag:a", "autogroup:self"], "ip": ["*", "udp:53"], "srcPosture": ["posture:p"],
             "app": {"example.com/cap/x": [{"a": [1.5e3, null, "\u00e9"]}], "tailscale.com/cap/drive": []}},
            {"src": ["*"], "dst": ["10.0.0.0/8", "autogroup:internet"], "ip": ["*"], "via": ["tag:a"]}]}"#,
        r#"{"tagOwners": {"tag:a": []},
         "ssh": [{"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self", "tag:a"], "users": ["root", "localpart:*@a.test"],
             "checkPeriod": "1h30m", "acceptEnv": ["GIT_*"], "recorder": ["tag:a"], "enforceRecorder": true}],
         "nodeAttrs": [{"target": ["*"], "attr": ["funnel"], "app": {"x/y": [{}]}, "ipPool": ["100.81.0.0/16"]}],
         "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:a"]}, "exitNode": ["autogroup:admin"], "services": {"svc:w": ["tag:a"]}},
         "derpMap": {"regions": {"900": {"regionID": 900, "nodes": [{"name": "a"}]}, "1": null}},
         "disableIPv4": false, "OneCGNATRoute": "mac-never", "randomizeClientPort": true}"#,
        r#"{"acls": [{"action": "accept", "users": ["*"], "ports": ["*:*"]}],
         "tests": [{"user": "u1@a.test", "allow": ["100.64.0.2:22"], "deny": ["100.64.0.2:0"], "proto": "udp"}],
         "sshTests": [{"src": "u1@a.test", "dst": ["100.64.0.2"], "accept": ["root"]}], "attrConfig": {"custom:x": {"type": "string"}}}"#,
        "",
        "{",
        "/* {",
        r#"{"ipsets": {"ipset:a": ["ipset:b"], "ipset:b": ["ipset:a"]}}"#,
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .to_vec()
}

/// A document is refused with a place and a reason, or compiled; either way in bounded time and without a panic.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let context = DocumentContext {
        domains: BTreeSet::from(["a.test".to_owned()]),
        ..DocumentContext::default()
    };
    let policy = match Policy::parse(text, &context) {
        Ok(policy) => policy,
        Err(problems) => {
            assert!(!problems.is_empty() && problems.len() <= 50);
            assert!(problems.iter().all(|problem| !problem.message.is_empty()));
            return;
        }
    };
    assert!(
        Policy::parse(text, &DocumentContext::for_stored_document()).is_ok(),
        "what was accepted stays in force"
    );
    let mut compiler = Compiler::new(policy);
    for id in 1..4 {
        compiler.put_user(PolicyUser {
            id,
            login_name: format!("u{id}@a.test"),
            ..PolicyUser::default()
        });
        compiler.put_node(PolicyNode {
            id,
            user: id % 2 + 1,
            tags: if id == 3 {
                vec!["tag:a".to_owned()]
            } else {
                Vec::new()
            },
            ipv4: format!("100.64.0.{id}").parse().ok(),
            ipv6: format!("fd7a:115c:a1e0::{id}").parse().ok(),
            usable_routes: vec!["10.0.0.0/16".parse().expect("a prefix")],
            ..PolicyNode::default()
        });
    }
    let failed = failed_tests(compiler.policy(), compiler.users(), compiler.nodes());
    assert!(failed.iter().all(|problem| !problem.message.is_empty()));
    let preview = compiler.preview_policy(&Policy::allow_all());
    assert!(preview.total <= 6);
    assert_eq!(compiler.full_output().nodes.len(), 3);
}
