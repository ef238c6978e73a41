//! Packet filters and peers.

use super::{
    Example,
    Tailnet::{Chosen, Small},
    check,
};

#[test]
fn rules_of_people_tags_groups_and_domains() {
    check(&[
        Example {
            shows: "members may reach everything",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["*:*"]}]"#,
            told: &[("all", &["anas bens cleos -> *:*"])],
            peers: "anas, bens, cleos <-> everyone",
        },
        Example {
            shows: "two sources reach one port of one server",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["autogroup:member", "tag:probe"], "dst": ["tag:api:22"]}]"#,
            told: &[("api", &["anas bens cleos probe -> own:22"])],
            peers: "anas, bens, cleos, probe <-> api",
        },
        Example {
            shows: "everything reaches each member, on the member's own addresses",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:member:*"]}]"#,
            told: &[("anas, bens, cleos", &["wild -> own:*"])],
            peers: "anas, bens, cleos <-> everyone",
        },
        Example {
            shows: "a group as a destination",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["group:makers:22"]}]"#,
            told: &[("anas, bens", &["wild -> own:22"])],
            peers: "anas, bens <-> everyone",
        },
        Example {
            shows: "a tag in any case",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["tag:Probe"], "dst": ["tag:API:22"]}]"#,
            told: &[("api", &["probe -> own:22"])],
            peers: "probe <-> api",
        },
        Example {
            shows: "people of one domain",
            tailnet: Small,
            policy: r#""grants": [{"src": ["user:*@corp.test"], "dst": ["tag:api"], "ip": ["tcp:22"]}]"#,
            told: &[("api", &["anas cleos -> own:22 [6]"])],
            peers: "anas, cleos <-> api",
        },
        Example {
            shows: "sources that are nobody",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["group:nobody"], "dst": ["*:*"]}]"#,
            told: &[],
            peers: "",
        },
        Example {
            shows: "rules stay apart unless their sources are the same",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:api:22"]},
                {"action": "accept", "src": ["group:owners"], "dst": ["tag:api:22"]},
                {"action": "accept", "src": ["ana@corp.test"], "dst": ["tag:api:22"]}]"#,
            told: &[("api", &["anas bens cleos -> own:22", "anas -> own:22"])],
            peers: "anas, bens, cleos <-> api",
        },
        Example {
            shows: "everything, and beside it names that it has already",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*", "autogroup:member", "autogroup:tagged", "group:owners", "tag:probe", "web", "100.90.199.68"], "dst": ["tag:api:22"]}]"#,
            told: &[(
                "api",
                &[
                    "wild anas bens cleos api probe live gate door 100.108.7.7 100.90.199.68 -> own:22",
                ],
            )],
            peers: "api <-> everyone",
        },
    ]);
}

#[test]
fn own_devices() {
    check(&[
        Example {
            shows: "own devices beside a tag: tagged nodes have none",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self:*", "tag:api:22"]}]"#,
            told: &[
                ("anas", &["anas -> own:*"]),
                ("bens", &["bens -> own:*"]),
                ("cleos", &["cleos -> own:*"]),
                ("api", &["wild -> own:22"]),
            ],
            peers: "api <-> everyone",
        },
        Example {
            shows: "own devices beside an autogroup",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self:*", "autogroup:member:22"]}]"#,
            told: &[
                ("anas", &["anas -> own:*"]),
                ("bens", &["bens -> own:*"]),
                ("cleos", &["cleos -> own:*"]),
                ("anas, bens, cleos", &["wild -> own:22"]),
            ],
            peers: "anas, bens, cleos <-> everyone",
        },
        Example {
            shows: "own devices twice",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self:*"]},
                {"action": "accept", "src": ["ana@corp.test"], "dst": ["ana@corp.test:*"]}]"#,
            told: &[
                ("anas", &["anas -> own:*"]),
                ("bens", &["bens -> own:*"]),
                ("cleos", &["cleos -> own:*"]),
            ],
            peers: "",
        },
    ]);
}

#[test]
fn addresses_ports_and_protocols() {
    check(&[
        Example {
            shows: "addresses as sources stay as they are, and a router behind them is a peer",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["inside", "web"], "dst": ["tag:api:22"]}]"#,
            told: &[("api", &["10.0.0.0/8 100.108.7.7 -> own:22"])],
            peers: "api <-> gate",
        },
        Example {
            shows: "addresses as destinations: a router keeps what its routes overlap, a subnet without router is gone",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["inside:22", "lan:80", "tag:api:443"]}]"#,
            told: &[
                ("api", &["wild -> own:443"]),
                ("gate", &["wild -> 10.0.0.0/8:22"]),
            ],
            peers: "api, gate <-> everyone",
        },
        Example {
            shows: "a prefix inside the tailnet is kept as it is written",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["tag:probe"], "dst": ["100.80.0.0/29:*"]}]"#,
            told: &[("anas, bens, cleos", &["probe -> 100.80.0.0/29:*"])],
            peers: "anas, bens, cleos <-> probe",
        },
        Example {
            shows: "several destinations of everything",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["tag:api:22"]}, {"action": "accept", "src": ["*"], "dst": ["tag:live:5432"]},
                {"action": "accept", "src": ["*"], "dst": ["*:80"]}]"#,
            told: &[
                ("all", &["wild -> *:80"]),
                ("api", &["wild -> own:22"]),
                ("live", &["wild -> own:5432"]),
            ],
            peers: "mesh",
        },
        Example {
            shows: "a protocol by its number",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "proto": "1", "dst": ["tag:api:*"]}]"#,
            told: &[("api", &["wild -> own:* [1]"])],
            peers: "api <-> everyone",
        },
        Example {
            shows: "one rule for each protocol of a grant",
            tailnet: Small,
            policy: r#""grants": [{"src": ["*"], "dst": ["tag:api"], "ip": ["tcp:80", "udp:53", "tcp:443"]}]"#,
            told: &[(
                "api",
                &["wild -> own:80 own:443 [6]", "wild -> own:53 [17]"],
            )],
            peers: "api <-> everyone",
        },
        Example {
            shows: "a bare number is a port",
            tailnet: Small,
            policy: r#""grants": [{"src": ["*"], "dst": ["tag:api"], "ip": ["47"]}]"#,
            told: &[("api", &["wild -> own:47"])],
            peers: "api <-> everyone",
        },
        Example {
            shows: "every address there is, as a source",
            tailnet: Small,
            policy: r#""grants": [{"src": ["autogroup:danger-all"], "dst": ["tag:api"], "ip": ["tcp:22"]}]"#,
            told: &[("api", &["* -> own:22 [6]"])],
            peers: "api <-> everyone",
        },
        Example {
            shows: "the internet while no exit node is approved",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:internet:*"]}]"#,
            told: &[],
            peers: "",
        },
    ]);
}

#[test]
fn capabilities() {
    check(&[
        Example {
            shows: "a capability makes peers",
            tailnet: Small,
            policy: r#""grants": [{"src": ["autogroup:member", "tag:live"], "dst": ["tag:api"], "app": {"example.com/cap/a": [{}]}}]"#,
            told: &[(
                "api",
                &[r#"anas bens cleos live => own {"example.com/cap/a": [{}]}"#],
            )],
            peers: "anas, bens, cleos, live <-> api",
        },
        Example {
            shows: "ports and a capability in one grant",
            tailnet: Small,
            policy: r#""grants": [{"src": ["*"], "dst": ["tag:api"], "ip": ["tcp:80"], "app": {"tailscale.com/cap/kubernetes": [{"impersonate": {"groups": ["g"]}}]}}]"#,
            told: &[(
                "api",
                &[
                    "wild -> own:80 [6]",
                    r#"wild => own {"tailscale.com/cap/kubernetes": [{"impersonate": {"groups": ["g"]}}]}"#,
                ],
            )],
            peers: "api <-> everyone",
        },
        Example {
            shows: "values of one capability stay apart",
            tailnet: Small,
            policy: r#""grants": [{"src": ["*"], "dst": ["tag:api"], "app": {"example.com/cap/a": [{"v": 1}]}},
                {"src": ["*"], "dst": ["tag:api"], "app": {"example.com/cap/a": [{"v": 2}]}}]"#,
            told: &[(
                "api",
                &[
                    r#"wild => own {"example.com/cap/a": [{"v": 1}]}"#,
                    r#"wild => own {"example.com/cap/a": [{"v": 2}]}"#,
                ],
            )],
            peers: "api <-> everyone",
        },
        Example {
            shows: "grants and ACLs together",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
                "grants": [{"src": ["*"], "dst": ["tag:api"], "app": {"example.com/cap/a": [{}]}}]"#,
            told: &[
                ("all", &["wild -> *:*"]),
                ("api", &[r#"wild => own {"example.com/cap/a": [{}]}"#]),
            ],
            peers: "mesh",
        },
    ]);
}

#[test]
fn capabilities_beside_other_things() {
    check(&[
        Example {
            shows: "shares are announced to those who may use them",
            tailnet: Small,
            policy: r#""grants": [{"src": ["autogroup:member"], "dst": ["tag:door"], "app": {"tailscale.com/cap/drive": [{"shares": ["*"]}]}}]"#,
            told: &[
                (
                    "anas, bens, cleos",
                    &[r#"door => own {"tailscale.com/cap/drive-sharer": []}"#],
                ),
                (
                    "door",
                    &[r#"anas bens cleos => own {"tailscale.com/cap/drive": [{"shares": ["*"]}]}"#],
                ),
            ],
            peers: "anas, bens, cleos <-> door",
        },
        Example {
            shows: "a capability for nobody keeps its place",
            tailnet: Small,
            policy: r#""grants": [{"src": ["group:nobody"], "dst": ["tag:api"], "app": {"example.com/cap/a": [{}]}}]"#,
            told: &[("api", &[r#" => own {"example.com/cap/a": [{}]}"#])],
            peers: "",
        },
        Example {
            shows: "a capability, a chosen router and an ACL",
            tailnet: Small,
            policy: r#""acls": [{"action": "accept", "src": ["tag:probe"], "dst": ["tag:api:22"]}],
                "grants": [{"src": ["autogroup:member"], "dst": ["tag:api"], "app": {"example.com/cap/a": [{}]}},
                    {"src": ["*"], "dst": ["10.33.0.0/16"], "ip": ["*"], "via": ["tag:gate"]}]"#,
            told: &[
                (
                    "api",
                    &[
                        r#"anas bens cleos => own {"example.com/cap/a": [{}]}"#,
                        "probe -> own:22",
                    ],
                ),
                ("gate", &["wild -> 10.33.0.0/16:*"]),
            ],
            peers: "gate <-> everyone; anas, bens, cleos, probe <-> api",
        },
        Example {
            shows: "chosen routers carry no capabilities",
            tailnet: Small,
            policy: r#""grants": [{"src": ["*"], "dst": ["10.33.0.0/16"], "ip": ["tcp:80"], "app": {"example.com/cap/a": [{}]}, "via": ["tag:gate"]}]"#,
            told: &[("gate", &["wild -> 10.33.0.0/16:80 [6]"])],
            peers: "gate <-> everyone",
        },
    ]);
}

#[test]
fn without_rules() {
    check(&[
        Example {
            shows: "no section of rules: everything",
            tailnet: Small,
            policy: r#""ssh": []"#,
            told: &[("all", &["wild -> *:*"])],
            peers: "mesh",
        },
        Example {
            shows: "an empty list of ACLs: nothing",
            tailnet: Small,
            policy: r#""acls": []"#,
            told: &[],
            peers: "",
        },
        Example {
            shows: "an empty list of grants: nothing",
            tailnet: Chosen,
            policy: r#""grants": []"#,
            told: &[],
            peers: "",
        },
        Example {
            shows: "a capability to nowhere: nothing",
            tailnet: Small,
            policy: r#""grants": [{"src": ["*"], "dst": [], "app": {"example.com/cap/a": [{}]}}]"#,
            told: &[],
            peers: "",
        },
    ]);
}
