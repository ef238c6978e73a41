//! What is accepted, and what each mistake is told.

mod hostile;
mod warned;

use super::*;

fn parse(text: &str) -> Result<Policy, Vec<Problem>> {
    let context = DocumentContext {
        domains: BTreeSet::from(["example.com".to_owned()]),
        groups: Some(BTreeSet::from(["group:synced".to_owned()])),
        ..DocumentContext::default()
    };
    Policy::parse(text, &context)
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
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
    (
        r#"{"acls":[{"action":"accept","src":["user:bob@example.com"],"dst":["*:*"]}]}"#,
        1,
        "src=\"user:bob@example.com\" is not a selector",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["tag:web@example.com"],"dst":["*:*"]}]}"#,
        1,
        "src=tag not found: \"tag:web@example.com\"",
    ),
    (
        r#"{"acls":[{"action":"accept","src":["user:*@EXAMPLE.com"],"dst":["*:*"]}]}"#,
        1,
        "EXAMPLE.com is not associated with this Tailnet and cannot be used in user:*@<domain> expressions: write example.com",
    ),
    (
        r#"{"ssh":[{"action":"check","src":["tag:ci"],"dst":["tag:ci"],"users":["root"]}],"tagOwners":{"tag:ci":[]}}"#,
        1,
        "src \"tag:ci\": a tagged source can not be in check mode",
    ),
    (
        r#"{"ssh":[{"action":"check","src":["autogroup:tagged"],"dst":[],"users":["root"]}]}"#,
        1,
        "src \"autogroup:tagged\": a tagged source can not be in check mode",
    ),
    (
        r#"{"grants":[{"src":["*"],"dst":["*"],"ip":["*:icmp"]}]}"#,
        1,
        "port range \"icmp\": invalid first integer",
    ),
    (
        "{\n\"derpMap\": {\"omitDefaultRegions\": true}}",
        2,
        "derpMap leaves clients without any relay: the regions of the server are omitted, and none here has a relay that can be a home",
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
fn destinations_without_ports_are_told_what_to_write() {
    for (destination, written) in [
        ("*", "*:*"),
        ("22", "22:*"),
        ("tag:a", "tag:a:*"),
        ("autogroup:self", "autogroup:self:*"),
        ("a@example.com", "a@example.com:*"),
        ("user:*@example.com", "user:*@example.com:*"),
        ("10.0.0.1", "10.0.0.1:*"),
        ("10.0.0.0/8", "10.0.0.0/8:*"),
        ("fd7a:115c:a1e0::1", "[fd7a:115c:a1e0::1]:*"),
        ("[fd7a:115c:a1e0::1]", "[fd7a:115c:a1e0::1]:*"),
    ] {
        let text = format!(
            r#"{{"tagOwners":{{"tag:a":[]}},"acls":[{{"action":"accept","src":["*"],"dst":["{destination}"]}}]}}"#
        );
        let said = problems(&text)[0].to_string();
        let wanted = format!("write \"{written}\"");
        assert!(
            said.contains("ports are missing") && said.contains(&wanted),
            "{destination}: {said}"
        );
    }
    let grant =
        r#"{"grants":[{"src":["*"],"dst":["tag:a:22"],"ip":["*"]}],"tagOwners":{"tag:a":[]}}"#;
    assert!(problems(grant)[0].hint.contains("stand under ip"));
}

#[test]
fn what_older_releases_let_pass_stays_in_force() {
    for text in [
        r#"{"ssh":[{"action":"check","src":["autogroup:tagged"],"dst":[],"users":["root"]}]}"#,
        r#"{"acls":[{"action":"accept","src":["user:bob@example.com","group:gone"],"dst":["*:*"]}]}"#,
        r#"{"acls":[{"action":"accept","src":["user:*@Other.test"],"dst":["*:*"]}]}"#,
        r#"{"derpMap": {"omitDefaultRegions": true}}"#,
    ] {
        assert!(parse(text).is_err(), "{text}");
        let stored = Policy::parse(text, &DocumentContext::for_stored_document());
        assert!(stored.is_ok(), "{text}: {stored:?}");
    }
}

#[test]
fn grants_for_any_protocol_are_for_the_usual_ones() {
    let services = |service: &str| {
        let text = format!(r#"{{"grants":[{{"src":["*"],"dst":["*"],"ip":["{service}"]}}]}}"#);
        parse(&text).unwrap().rules[0].services.clone()
    };
    for (any, plain) in [
        ("*:*", "*"),
        ("*:8096", "8096"),
        ("*:8000-8100,9000", "8000-8100,9000"),
    ] {
        assert_eq!(services(any), services(plain), "{any}");
    }
}

#[test]
fn a_grant_without_sources_is_no_rule() {
    let rules = |source: &str| {
        let text = format!(
            r#"{{"groups":{{"group:none":[]}},"grants":[{{{source}"dst":["*"],"ip":["*"],"app":{{"tailscale.com/cap/relay":[]}}}}]}}"#
        );
        parse(&text).unwrap().rules.len()
    };
    assert_eq!((rules(r#""src":[],"#), rules("")), (0, 0));
    assert_eq!(rules(r#""src":["group:none"],"#), 2);
}

#[test]
fn relays_are_written_as_clients_spell_them() {
    let policy = parse(
        r#"{"derpMap": {"OmitDefaultRegions": true, "regions": {"1": null, "900": {"regionID": 900, "regionCode": "x",
            "nodes": [{"name": "900a", "regionID": 900, "hostName": "r.example.com", "stunPort": -1}]}}}}"#,
    );
    assert_eq!(
        policy.unwrap().derp_map.unwrap(),
        r#"{"Regions":{"1":null,"900":{"RegionID":900,"RegionCode":"x","Nodes":[{"Name":"900a","RegionID":900,"HostName":"r.example.com","STUNPort":-1}]}},"omitDefaultRegions":true}"#
    );
    let whole = r#"{"HomeParams":{"RegionScore":{"901":0.5}},"Regions":{"901":{"RegionID":901,"RegionCode":"x","RegionName":"X","Latitude":-48.1,"Longitude":11.6,"Avoid":true,"NoMeasureNoHome":false,"Nodes":[{"Name":"901a","RegionID":901,"HostName":"r.example.com","CertName":"c.example.com","IPv4":"203.0.113.9","IPv6":"none","STUNPort":3479,"STUNOnly":false,"DERPPort":8443,"InsecureForTests":true,"STUNTestIP":"203.0.113.10","CanPort80":true}]}},"omitDefaultRegions":false}"#;
    let policy = parse(&format!(r#"{{"derpMap": {whole}}}"#)).unwrap();
    assert_eq!(policy.derp_map.as_deref(), Some(whole));
    assert_eq!(lines(policy.warnings()), [""; 0]);
    let nulls = r#"{"derpMap": {"HomeParams": null, "Regions": {"900": {"RegionID": 900, "Latitude": null, "Nodes": null}}}}"#;
    assert_eq!(
        parse(nulls).unwrap().derp_map.unwrap(),
        r#"{"Regions":{"900":{"RegionID":900,"Nodes":[]}}}"#
    );
    for wrong in [
        r#"{"derpMap": {"regions": {"x": {}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"port": 1}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"regionID": "900"}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"latitude": "48"}}}}"#,
        r#"{"derpMap": {"regions": {"900": {"nodes": [{"canPort80": 1}]}}}}"#,
        r#"{"derpMap": {"homeParams": {"regionScore": {"x": 1}}}}"#,
        r#"{"derpMap": {"homeParams": {"regionScore": {"1": "x"}}}}"#,
        r#"{"derpMap": {"homeParams": []}}"#,
        r#"{"derpMap": {"omitDefaultRegions": true, "regions": {"900": {"regionID": 900, "nodes": []}}}}"#,
        r#"{"derpMap": {"omitDefaultRegions": true, "regions": {"900": {"regionID": 900, "nodes": [{"regionID": 900, "hostName": "a", "stunOnly": true}]}}}}"#,
        r#"{"derpMap": {"omitDefaultRegions": true, "regions": {"900": {"regionID": 900, "noMeasureNoHome": true, "nodes": [{"regionID": 900, "hostName": "a"}]}}}}"#,
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
