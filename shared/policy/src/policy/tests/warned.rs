//! What is taken although it does not do what it says.

use super::*;

/// A document, and what is warned of.
const WARNED: &[(&str, &[&str])] = &[
    (
        "{\"postures\": {\"posture:p\": [\"node:os == 'macos'\",\n  \"ip:country == 'DE'\", \"custom:a:b NOT SET\"]}}",
        &[
            "line 2, column 3: \"ip:country\" is never set here: this condition is not met by any device, and \"posture:p\" by none",
            "line 2, column 25: \"custom:a:b\" is never set here: this condition is not met by any device, and \"posture:p\" by none",
        ],
    ),
    (
        r#"{"attrConfig": {"custom:score": {"type": "number"}}, "postures": {"posture:p": ["custom:score >= '7'"]}}"#,
        &[
            "line 1, column 81: \"custom:score\" is a number by attrConfig, and is compared with a string: this condition is not met by any device",
        ],
    ),
    (
        r#"{"attrConfig": {"custom:two words": {"type": "bool"}}}"#,
        &["line 1, column 17: \"custom:two words\" can not be set: it is no name of an attribute"],
    ),
    (
        r#"{"attrConfig": {"custom:tier": {"broadcastToPeers": ["*"]}}}"#,
        &["line 1, column 53: broadcastToPeers has no effect here"],
    ),
    (
        r#"{"grants": [{"src": ["*"], "dst": ["svc:web"], "ip": ["443"]}]}"#,
        &["line 1, column 36: there are no services here yet: \"svc:web\" selects nothing"],
    ),
    (
        r#"{"acls": [{"action": "accept", "src": ["autogroup:shared"], "dst": ["svc:web:443"]}]}"#,
        &[
            "line 1, column 40: nodes can not be shared here yet: \"autogroup:shared\" selects nobody",
            "line 1, column 69: there are no services here yet: \"svc:web\" selects nothing",
        ],
    ),
    (
        r#"{"autoApprovers": {"services": {"svc:web": []}}}"#,
        &["line 1, column 33: there are no services here yet: \"svc:web\" approves nothing"],
    ),
    (
        r#"{"tests": [{"src": "a@example.com", "accept": ["svc:web:443"]}]}"#,
        &["line 1, column 48: there are no services here yet: \"svc:web:443\" is not tested"],
    ),
    (
        r#"{"groups": {"group:synced": []}}"#,
        &["line 1, column 13: \"group:synced\" is a group of the tailnet too"],
    ),
    (
        r#"{"ssh": [{"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"], "checkPeriod": "30s"}]}"#,
        &["line 1, column 120: checkPeriod 30s is below one minute"],
    ),
    (
        r#"{"derpMap": {"regions": {"1": null}}}"#,
        &["line 1, column 13: derpMap takes regions away (1) and adds none that can be a home"],
    ),
    (
        r#"{"derpMap": {"regions": {"900": {"nodes": [{"regionID": 901}]}}}}"#,
        &[
            "line 1, column 33: a region of region 900 does not say \"RegionID\": 900",
            "line 1, column 44: a relay of region 900 does not say \"RegionID\": 900",
            "line 1, column 44: the relay has no HostName",
        ],
    ),
];

#[test]
fn each_warning_names_its_place_and_consequence() {
    for (text, warnings) in WARNED {
        let policy = parse(text).unwrap();
        let found = lines(policy.warnings());
        assert_eq!(found.len(), warnings.len(), "{text}: {found:?}");
        for (found, warning) in found.iter().zip(*warnings) {
            assert!(found.starts_with(warning), "{text}: {found}");
        }
    }
}

#[test]
fn what_does_what_it_says_is_not_warned_of() {
    for text in [
        r#"{"postures": {"posture:p": ["node:os == 'linux'", "node:tsVersion >= '1.80'", "node:tsReleaseTrack == 'stable'"]}}"#,
        r#"{"postures": {"posture:p": ["node:osVersion >= '13.0'", "node:tsAutoUpdate", "node:tsStateEncrypted == true", "custom:x NOT SET"]}}"#,
        r#"{"attrConfig": {"custom:score": {"type": "number", "allowSetByNode": true, "broadcastToPeers": []}},
            "postures": {"posture:p": ["custom:score >= 7", "custom:score NOT IN ['x']", "custom:score IS SET"]}}"#,
        r#"{"grants": [{"src": ["group:synced"], "dst": ["*"], "ip": ["*"]}]}"#,
        r#"{"ssh": [{"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"], "checkPeriod": "1m"}]}"#,
        r#"{"ssh": [{"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"], "checkPeriod": "always"}]}"#,
        r#"{"ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"], "checkPeriod": "30s"}]}"#,
    ] {
        assert_eq!(lines(parse(text).unwrap().warnings()), [""; 0], "{text}");
    }
}

/// A group stands wherever users do.
const GROUP_EVERYWHERE: &str = r#"{
    "tagOwners": {"tag:a": ["GROUP"]},
    "acls": [{"action": "accept", "src": ["GROUP"], "dst": ["GROUP:22"]}],
    "grants": [{"src": ["GROUP"], "dst": ["GROUP"], "ip": ["*"]}],
    "ssh": [{"action": "accept", "src": ["GROUP"], "dst": ["tag:a"], "users": ["root"]}],
    "nodeAttrs": [{"target": ["GROUP"], "attr": ["funnel"]}],
    "autoApprovers": {"routes": {"10.0.0.0/8": ["GROUP"]}, "exitNode": ["GROUP"]}}"#;

#[test]
fn a_group_that_is_not_defined_is_one_that_users_have_or_had() {
    let context = |users: Option<&str>, in_force: &str| DocumentContext {
        groups: users.map(|name| BTreeSet::from([name.to_owned()])),
        groups_in_force: BTreeSet::from([in_force.to_owned()]),
        ..DocumentContext::default()
    };
    for name in ["group:ops", "group:Ops@example.com"] {
        let text = GROUP_EVERYWHERE.replace("GROUP", name);
        let known = Policy::parse(&text, &context(Some(name), "")).unwrap();
        assert_eq!(lines(known.warnings()), [""; 0]);
        assert_eq!(known.synced_groups, BTreeSet::from([name.to_owned()]));
        let left = Policy::parse(&text, &context(Some("group:other"), name)).unwrap();
        let warnings = lines(left.warnings());
        assert!(
            warnings.len() == 1 && warnings[0].contains("there is no group"),
            "{warnings:?}"
        );
        let unknown = Policy::parse(&text, &context(None, "")).unwrap();
        let warnings = lines(unknown.warnings());
        assert!(
            warnings.len() == 1 && warnings[0].contains("is not defined here"),
            "{warnings:?}"
        );
        let refused = Policy::parse(&text, &context(Some("group:other"), "")).unwrap_err();
        let all = lines(&refused).join("\n");
        // Owners, source and destination of an ACL and of a grant, SSH, attributes, routes, exit nodes.
        assert_eq!(all.matches("group not found").count(), 9, "{all}");
        let defined = text.replacen(
            '{',
            &format!(r#"{{"groups": {{"{name}": ["A@example.com"]}}, "#),
            1,
        );
        let defined = Policy::parse(&defined, &context(Some("group:other"), "")).unwrap();
        assert_eq!(
            defined.groups[name],
            BTreeSet::from(["a@example.com".to_owned()])
        );
        assert!(defined.synced_groups.is_empty() && defined.warnings().is_empty());
    }
}
