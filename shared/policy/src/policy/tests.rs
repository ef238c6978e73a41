//! What is accepted, and what each mistake is told.

mod hostile;

use super::*;

fn parse(text: &str) -> Result<Policy, Vec<Problem>> {
    Policy::parse(text, &BTreeSet::from(["example.com".to_owned()]))
}

fn problems(text: &str) -> Vec<Problem> {
    parse(text).unwrap_err()
}

#[test]
fn comments_trailing_commas_and_any_case_are_read() {
    let policy = parse(
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
    assert_eq!(policy.rules[0].services[0].ports.len(), 2);
    assert_eq!(
        policy.rules[1].destinations,
        [Selector::Range("10.0.0.5".parse().unwrap()).into()]
    );
}

#[test]
fn document_without_content_or_rules_allows_all_and_an_empty_list_nothing() {
    for text in ["", "  // nothing\n", "{}", r#"{"acls": null}"#] {
        assert_eq!(
            parse(text).unwrap().rules,
            Policy::allow_all().rules,
            "{text}"
        );
    }
    assert!(parse(r#"{"acls": []}"#).unwrap().rules.is_empty());
}

#[test]
fn the_statements_of_one_acl_share_its_sources() {
    let text = r#"{"acls": [{"action": "accept", "src": ["a@example.com", "10.0.0.1"], "dst": ["b@example.com:22", "10.0.0.2:*"]}]}"#;
    let policy = parse(text).unwrap();
    let [first, second] = &*policy.rules else {
        panic!("two destinations are two statements");
    };
    assert!(std::sync::Arc::ptr_eq(&first.sources, &second.sources));
}

/// A document, the line of its mistake, and what is said of it.
const MISTAKES: &[(&str, u32, &str)] = &[
    ("{\n \"aclz\": []}", 2, "unknown field: \"aclz\""),
    (
        "{\"acls\": [],\n\"acls\": []}",
        2,
        "duplicate field: \"acls\"",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["group:x"],"dst":["*:*"]}]}"#,
        1,
        "src=group not found: \"group:x\"",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["tag:x"],"dst":["*:*"]}]}"#,
        1,
        "src=tag not found: \"tag:x\"",
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
        r#"{"tagOwners":{"tag:web":[],"tag:Web":[]}}"#,
        1,
        "duplicate key: \"tag:Web\" is in tagOwners in another case",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["tag:Gone"],"dst":["*:*"]}]}"#,
        1,
        "src=tag not found: \"tag:Gone\"",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["*"],"dst":["*:22, 80"]}]}"#,
        1,
        "dst=\"*:22, 80\": port range \"22, 80\": invalid first integer",
    ),
    (
        r#"{"ssh":[{"action":"check","src":[],"dst":[],"users":["root"],"checkPeriod":"7d"}]}"#,
        1,
        "time: unknown unit \"d\" in duration \"7d\"",
    ),
    (
        r#"{"ssh":[{"action":"check","src":[],"dst":[],"users":["root"],"checkPeriod":"-1.5s"}]}"#,
        1,
        "checkPeriod -1.5s must be a positive duration",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["nohost"],"dst":["*:*"]}]}"#,
        1,
        "src=host not found: \"nohost\"",
    ),
    (
        r#"{"groups":{"group:a":["group:b"]}}"#,
        1,
        "groups[\"group:a\"]: \"group:b\": group members cannot be recursive",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["*"]}]}"#,
        1,
        "ip and app can not both be empty",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["*"],"app":{}}]}"#,
        1,
        "ip and app can not both be empty",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["*"],"app":{"https://example.com/cap/a":[]}}]}"#,
        1,
        "capability name must have the form {domain}/{path}",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["*"],"app":{"tailscale.com/cap/funnel":[]}}]}"#,
        1,
        "capability name must not be in the tailscale.com domain",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["*"],"ip":["icmp"]}]}"#,
        1,
        "port range \"icmp\": invalid first integer",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["autogroup:danger-all"],"ip":["*"]}]}"#,
        1,
        "cannot use autogroup:danger-all as a dst",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["autogroup:internet"],"app":{"example.com/a":[]}}]}"#,
        1,
        "cannot use app grants with autogroup:internet",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["::/0"],"ip":["*"]}]}"#,
        1,
        "dst \"::/0\": to allow all IP addresses, use \"*\" or \"autogroup:internet\"",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["autogroup:self"],"ip":["*"]}]}"#,
        1,
        "autogroup:self can only be used with users, groups, or supported autogroups",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["10.0.0.0/8"],"ip":["*"],"via":["autogroup:tagged"]}]}"#,
        1,
        "via can only be a tag",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["10.0.0.0/8"],"ip":["*"],"via":["tag:x"]}]}"#,
        1,
        "tag \"tag:x\" not found",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["*"],"dst":["tag:x:22"]}]}"#,
        1,
        "dst=\"tag:x\": tag not found: \"tag:x\"",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["user:*@other.test"],"dst":["*:*"]}]}"#,
        1,
        "other.test is not associated with this Tailnet and cannot be used in user:*@<domain> expressions",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["*"],"dst":["*:0"]}]}"#,
        1,
        "dst=\"*:0\": port range \"0\": first port must be >0, or use '*' for wildcard",
    ),
    (
        r#"{"tagOwners":{"tag:1x":[]}}"#,
        1,
        "tagOwners[\"tag:1x\"]: tag names must start with a letter, after 'tag:'",
    ),
    (
        r#"{"ssh":[{"src":[],"dst":[],"users":["root"]}]}"#,
        1,
        "action must be specified",
    ),
    (
        r#"{"ssh":[{"action":"Accept","src":[],"dst":[],"users":["root"]}]}"#,
        1,
        "\"Accept\" is not a valid action",
    ),
    (
        r#"{"ssh":[{"action":"accept","src":[],"dst":[],"users":[]}]}"#,
        1,
        "users must be specified",
    ),
    (
        r#"{"ssh":[{"action":"accept","src":[],"dst":[],"users":["*"]}]}"#,
        1,
        "user \"*\" is not valid",
    ),
    (
        r#"{"ssh":[{"action":"accept","src":[],"dst":["10.0.0.1"],"users":["root"]}]}"#,
        1,
        "invalid dst \"10.0.0.1\"",
    ),
    (
        r#"{"ssh":[{"action":"accept","src":["user:*@other.test"],"dst":[],"users":["root"]}]}"#,
        1,
        "[ssh] other.test is not associated with this Tailnet and cannot be used in user:*@<domain> expressions",
    ),
    (
        r#"{"ssh":[{"action":"check","src":[],"dst":[],"users":["root"],"checkPeriod":"abc"}]}"#,
        1,
        "time: invalid duration \"abc\"",
    ),
    (
        r#"{"ssh":[{"action":"check","src":[],"dst":[],"users":["root"],"checkPeriod":"-1m"}]}"#,
        1,
        "checkPeriod -1m0s must be a positive duration",
    ),
    (
        r#"{"ssh":[{"action":"check","src":[],"dst":[],"users":["root"],"checkPeriod":"200h"}]}"#,
        1,
        "checkPeriod 200h0m0s is above the max (168h)",
    ),
    (
        r#"{"ssh":[{"action":"accept","src":[],"dst":[],"users":["root"],"acceptEnv":[""]}]}"#,
        1,
        "acceptEnv values cannot be empty",
    ),
    (
        r#"{"nodeAttrs":[{"target":["%bogus%"],"attr":["a"]}]}"#,
        1,
        "\"%bogus%\": invalid address",
    ),
    (
        r#"{"nodeAttrs":[{"target":["tag:x"],"attr":["a"]}]}"#,
        1,
        "tag not found: \"tag:x\"",
    ),
    (
        r#"{"nodeAttrs":[{"target":["*"],"ipPool":["100.115.92.0/24"]}]}"#,
        1,
        "IPPool(100.115.92.0/24): network within reserved range",
    ),
    (
        r#"{"sshTests":[{"src":"a@example.com","dst":["autogroup:internet"],"accept":["root"]}]}"#,
        1,
        "SSH tests dst contains disallowed element \"autogroup:internet\"",
    ),
    (
        r#"{"sshTests":[{"src":"a@example.com","dst":["tag:x"],"accept":["root"]}]}"#,
        1,
        "SSH tests dst contains unknown tag \"tag:x\"",
    ),
    (
        r#"{"ipsets":{"ipset:a":["ipset:b"],"ipset:b":["ipset:a"]}}"#,
        1,
        "\"ipset:b\": \"ipset:a\" leads back to itself",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["autogroup:member"],"dst":["autogroup:members:1"]}]}"#,
        1,
        "dst=\"autogroup:members\": \"autogroup:members\" and \"autogroup:member\" are the same: use one of them",
    ),
];

#[test]
fn each_mistake_is_named_with_its_place() {
    for (text, line, message) in MISTAKES {
        let found = problems(text);
        assert!(
            found
                .iter()
                .any(|problem| problem.message == *message && problem.line == *line),
            "{text}: {found:?}"
        );
    }
    assert!(problems("{\n \"aclz\": []}")[0].hint.contains("acls"));
}

#[test]
fn relays_are_written_as_clients_spell_them() {
    let policy = parse(
        r#"{"derpMap": {"OmitDefaultRegions": true, "regions": {"1": null, "900": {"regionID": 900, "regionCode": "x",
            "nodes": [{"name": "900a", "regionID": 900, "hostName": "r.example.com", "stunPort": -1}]}}}}"#,
    );
    assert_eq!(
        policy.unwrap().derp_map.unwrap(),
        r#"{"omitDefaultRegions":true,"Regions":{"1":null,"900":{"RegionID":900,"RegionCode":"x","Nodes":[{"Name":"900a","RegionID":900,"HostName":"r.example.com","STUNPort":-1}]}}}"#
    );
    for wrong in [
        r#"{"derpMap": {"regions": {"x": {}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"port": 1}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"regionID": "900"}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"regionID": -1}}}}"#,
        r#"{"derpMap": {"regions": {"0900": {"regionID": 900}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"nodes": [{"derpPort": -1}]}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"avoid": true, "Avoid": false}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"nodes": [], "Nodes": [{"name": "a"}]}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"nodes": [{"hostName": "a", "HostName": "b"}]}}}}"#,
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
