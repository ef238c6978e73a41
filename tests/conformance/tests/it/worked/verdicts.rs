//! The `tests` and `sshTests` of documents.

use super::tailnet::Tailnet::Small;

/// Says whether a document passes its own tests; one that does not is told of them.
fn passes(sections: &str) -> bool {
    let told = Small.told(sections);
    assert!(
        told.accepted || told.error.contains("test(s) failed"),
        "{}",
        told.error
    );
    told.accepted
}

#[test]
fn access_is_judged_by_acls_and_grants_alike() {
    let rules = r#""acls": [{"action": "accept", "src": ["ana@corp.test"], "dst": ["tag:api:22"]}],
        "grants": [{"src": ["tag:probe"], "dst": ["100.80.0.10"], "ip": ["tcp:80"]}]"#;
    assert!(passes(&format!(
        r#"{rules}, "tests": [{{"src": "ana@corp.test", "accept": ["tag:api:22"], "deny": ["tag:live:22"]}},
                             {{"src": "tag:probe", "accept": ["100.80.0.10:80"]}}]"#
    )));
    assert!(!passes(&format!(
        r#"{rules}, "tests": [{{"src": "ana@corp.test", "accept": ["tag:api:23"]}}]"#
    )));
    assert!(!passes(&format!(
        r#"{rules}, "tests": [{{"src": "ana@corp.test", "deny": ["tag:api:22"]}}]"#
    )));
}

#[test]
fn what_is_no_single_place_fails() {
    let open = r#""acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]"#;
    for (destination, verdict) in [
        ("tag:api:22", true),
        ("100.80.0.10:22", true),
        ("[fd7a:115c:a1e0::a]:22", true),
        ("tag:api:22,23", false),
        ("tag:api:22-23", false),
        ("tag:api:*", false),
        ("tag:api:0", false),
        ("tag:api:70000", false),
        ("tag:api:ssh", false),
        ("100.80.0.10/32:22", false),
        ("lan:22", false),
        ("autogroup:internet:22", false),
        ("*:22", false),
        ("tag:unknown:22", false),
        ("nohost:22", false),
    ] {
        let test = format!(
            r#"{open}, "tests": [{{"src": "ana@corp.test", "accept": ["{destination}"]}}]"#
        );
        assert_eq!(passes(&test), verdict, "{destination}");
    }
}

#[test]
fn protocols_count() {
    let rule = r#""acls": [{"action": "accept", "proto": "tcp", "src": ["group:makers"], "dst": ["tag:api:53"]}]"#;
    let judged = |test: &str| passes(&format!(r#"{rule}, "tests": [{test}]"#));
    assert!(judged(
        r#"{"src": "ben@partner.test", "accept": ["tag:api:53"]}"#
    ));
    assert!(judged(
        r#"{"src": "ben@partner.test", "proto": "tcp", "accept": ["tag:api:53"]}"#
    ));
    assert!(!judged(
        r#"{"src": "ben@partner.test", "proto": "udp", "accept": ["tag:api:53"]}"#
    ));
    assert!(!judged(
        r#"{"src": "ben@partner.test", "proto": "icmp", "accept": ["tag:api:53"]}"#
    ));
}

#[test]
fn ssh_is_judged_by_ssh_rules_alone() {
    let judged = |rule: &str, test: &str| {
        passes(&format!(
            r#""acls": [{{"action": "accept", "src": ["ana@corp.test"], "dst": ["tag:live:80"]}}], "ssh": [{rule}], "sshTests": [{test}]"#
        ))
    };
    let check = r#"{"action": "check", "src": ["ben@partner.test"], "dst": ["tag:api"], "users": ["root"]}"#;
    let nonroot = r#"{"action": "accept", "src": ["ben@partner.test"], "dst": ["tag:api"], "users": ["autogroup:nonroot"]}"#;
    let root = r#"{"action": "accept", "src": ["ben@partner.test"], "dst": ["tag:api"], "users": ["root"]}"#;
    assert!(judged(
        check,
        r#"{"src": "ben@partner.test", "dst": ["tag:api"], "check": ["root"]}"#
    ));
    assert!(!judged(
        nonroot,
        r#"{"src": "ben@partner.test", "dst": ["tag:api"], "accept": ["root"]}"#
    ));
    assert!(judged(
        nonroot,
        r#"{"src": "ben@partner.test", "dst": ["tag:api"], "accept": ["git"], "deny": ["root"]}"#
    ));
    assert!(judged(
        root,
        r#"{"src": "ben@partner.test", "dst": ["tag:api"], "accept": ["root"]}"#
    ));
    assert!(!judged(
        root,
        r#"{"src": "cleo@corp.test", "dst": ["tag:api"], "accept": ["root"]}"#
    ));
    let told = Small.told(&format!(
        r#""ssh": [{root}], "sshTests": [{{"src": "ben@partner.test", "dst": ["tag:api:22"], "accept": ["root"]}}]"#
    ));
    assert!(
        told.error
            .contains(r#"SSH tests dst contains unknown tag "tag:api:22""#),
        "{}",
        told.error
    );
}

#[test]
fn sources_may_be_several_addresses() {
    let rule = r#""ipsets": {"ipset:far": ["172.20.0.0/16", "172.30.0.7"]},
        "acls": [{"action": "accept", "src": ["lan", "172.16.0.0/12"], "dst": ["tag:api:22"]}]"#;
    for (source, verdict) in [
        ("lan", true),
        ("192.168.1.0/25", true),
        ("192.168.1.9", true),
        ("ipset:far", true),
        ("inside", false),
        ("192.168.0.0/16", false),
        ("ipset:none", false),
        ("*", false),
    ] {
        let test = format!(r#"{rule}, "tests": [{{"src": "{source}", "accept": ["tag:api:22"]}}]"#);
        assert_eq!(passes(&test), verdict, "{source}");
    }
}

#[test]
fn own_devices_are_a_destination_of_people() {
    let rule =
        r#""acls": [{"action": "accept", "src": ["group:makers"], "dst": ["autogroup:self:22"]}]"#;
    for (source, destination, verdict) in [
        ("ana@corp.test", "autogroup:self:22", true),
        ("group:makers", "autogroup:self:22", true),
        ("100.80.0.1", "autogroup:self:22", true),
        ("ana@corp.test", "autogroup:self:23", false),
        ("cleo@corp.test", "autogroup:self:22", false),
        ("tag:api", "autogroup:self:22", false),
        ("192.168.1.9", "autogroup:self:22", false),
    ] {
        let test =
            format!(r#"{rule}, "tests": [{{"src": "{source}", "accept": ["{destination}"]}}]"#);
        assert_eq!(passes(&test), verdict, "{source} to {destination}");
    }
}

#[test]
fn chosen_routers_lead_to_what_is_behind_them_alone() {
    let grant = r#""grants": [{"src": ["tag:probe"], "dst": ["10.33.0.0/16", "100.80.0.10", "tag:live"], "ip": ["*"], "via": ["tag:gate"]}]"#;
    for (destination, verdict) in [
        ("10.33.0.5:22", true),
        ("100.80.0.10:22", false),
        ("tag:live:22", false),
    ] {
        let test =
            format!(r#"{grant}, "tests": [{{"src": "tag:probe", "accept": ["{destination}"]}}]"#);
        assert_eq!(passes(&test), verdict, "{destination}");
    }
}

#[test]
fn ssh_tests_say_what_the_devices_are_told() {
    let judged =
        |rule: &str, test: &str| passes(&format!(r#""ssh": [{rule}], "sshTests": [{test}]"#));
    // To own devices under the own name.
    let own = r#"{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["localpart:*@corp.test"]}"#;
    let test = r#"{"src": "ana@corp.test", "dst": ["ana@corp.test"], "accept": ["ana"], "deny": ["cleo", "root"]}"#;
    assert!(judged(own, test));
    let other = r#"{"src": "ben@partner.test", "dst": ["ben@partner.test"], "accept": ["ben"]}"#;
    assert!(!judged(own, other));
    // A check comes before what accepts the same.
    let both = r#"{"action": "accept", "src": ["ana@corp.test"], "dst": ["tag:api"], "users": ["root"]},
        {"action": "check", "src": ["ana@corp.test"], "dst": ["tag:api"], "users": ["root"]}"#;
    let test = |said: &str| {
        format!(r#"{{"src": "ana@corp.test", "dst": ["tag:api"], "{said}": ["root"]}}"#)
    };
    assert!(judged(both, &test("check")));
    assert!(!judged(both, &test("accept")));
    // Without a destination nothing was tested.
    for test in [
        r#"{"src": "ana@corp.test", "dst": [], "accept": ["root"]}"#,
        r#"{"src": "ana@corp.test", "accept": ["root"]}"#,
        r#"{"src": "ana@corp.test", "dst": [], "deny": ["root"]}"#,
    ] {
        assert!(!judged(both, test), "{test}");
    }
}
