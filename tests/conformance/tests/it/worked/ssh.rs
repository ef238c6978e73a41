//! SSH rules.

use super::tailnet::{
    NODES,
    Tailnet::{self, Routed, Small},
};

/// Checks what nodes are told: `check|accept SOURCES as ssh=local,…`, in order, with `own` for the node itself; nodes
/// not named have no rule.
fn logins(tailnet: Tailnet, rules: &str, expected: &[(&str, &[&str])]) {
    let told = tailnet.told(&format!(r#""ssh": [{rules}]"#));
    assert!(told.accepted, "{}", told.error);
    for (name, _) in tailnet.nodes() {
        let found = told.nodes[name].ssh_rules.iter().map(|rule| {
            let action = if rule.action.accept {
                "accept"
            } else {
                "check"
            };
            let mut from: Vec<_> = rule
                .principals
                .iter()
                .map(|one| one.node_ip.as_str())
                .collect();
            from.sort_unstable();
            let users = rule
                .ssh_users
                .iter()
                .map(|(ssh, local)| format!("{ssh}={local}"));
            let users: Vec<_> = users.collect();
            format!("{action} {} as {}", from.join(" "), users.join(","))
        });
        let named = expected
            .iter()
            .filter(|(names, _)| names.split(", ").any(|one| one == name));
        let wanted = named.flat_map(|(_, lines)| *lines).map(|line| {
            let (action, rest) = line.split_once(' ').unwrap();
            let (sources, users) = rest.split_once(" as ").unwrap();
            let sources = sources
                .split(' ')
                .map(|one| if one == "own" { name } else { one });
            let mut from: Vec<_> = sources.flat_map(|one| NODES[one]).collect();
            from.sort_unstable();
            format!("{action} {} as {users}", from.join(" "))
        });
        assert_eq!(
            found.collect::<Vec<_>>(),
            wanted.collect::<Vec<_>>(),
            "{name}: {rules}"
        );
    }
}

#[test]
fn people_log_in_to_their_own_devices() {
    logins(
        Small,
        r#"{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["autogroup:nonroot"]}"#,
        &[("anas, bens, cleos", &["accept own as *==,root="])],
    );
    logins(
        Small,
        r#"{"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"]}"#,
        &[("anas, bens, cleos", &["check own as root=root"])],
    );
    logins(
        Small,
        r#"{"action": "accept", "src": ["ben@partner.test"], "dst": ["ben@partner.test"], "users": ["root"]}"#,
        &[("bens", &["accept own as root=root"])],
    );
}

#[test]
fn tagged_sources_are_listed_once_for_each_tag() {
    logins(
        Routed,
        r#"{"action": "accept", "src": ["autogroup:tagged"], "dst": ["tag:api"], "users": ["root"]}"#,
        &[(
            "api",
            &["accept api probe live gate opened wide twin1 twin2 both both as root=root"],
        )],
    );
    logins(
        Routed,
        r#"{"action": "accept", "src": ["tag:door"], "dst": ["tag:api"], "users": ["root"]}"#,
        &[("api", &["accept opened both both as root=root"])],
    );
    // Under the names of people, as a source that is told of itself too.
    logins(
        Routed,
        r#"{"action": "accept", "src": ["tag:door"], "dst": ["tag:api"], "users": ["localpart:*@corp.test"]}"#,
        &[
            ("api", &["accept opened both both as root="]),
            ("opened", &["accept own as root="]),
            ("both", &["accept own own as root="]),
        ],
    );
}

#[test]
fn people_log_in_under_their_own_names() {
    // Whoever is a source and no destination is told of itself: the hosted service does so.
    logins(
        Small,
        r#"{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:api"], "users": ["localpart:*@corp.test"]}"#,
        &[
            (
                "api",
                &[
                    "accept anas as root=",
                    "accept anas as ana=ana",
                    "accept cleos as root=",
                    "accept cleos as cleo=cleo",
                    "accept bens as root=",
                ],
            ),
            ("anas", &["accept own as root=", "accept own as ana=ana"]),
            ("cleos", &["accept own as root=", "accept own as cleo=cleo"]),
            ("bens", &["accept own as root="]),
        ],
    );
    logins(
        Small,
        r#"{"action": "accept", "src": ["tag:live"], "dst": ["tag:api"], "users": ["localpart:*@corp.test"]}"#,
        &[("api, live", &["accept live as root="])],
    );
}

#[test]
fn checks_come_first() {
    logins(
        Small,
        r#"{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:api"], "users": ["root"]},
           {"action": "check", "src": ["autogroup:member"], "dst": ["tag:api"], "users": ["root"]}"#,
        &[(
            "api",
            &[
                "check anas bens cleos as root=root",
                "accept anas bens cleos as root=root",
            ],
        )],
    );
}

#[test]
fn variables_are_beside_the_action() {
    let told = Small.told(
        r#""ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:api"], "users": ["root"], "acceptEnv": ["TERM", "GIT_*"]}]"#,
    );
    assert_eq!(told.nodes["api"].ssh_rules[0].accept_env, ["TERM", "GIT_*"]);
}

#[test]
fn without_a_section_nobody_logs_in() {
    logins(Small, "", &[]);
}
