//! Subnets, exit nodes, chosen routers, approvals.

use bowline_policy::{Applicant, DocumentContext, Policy, approved_routes};
use std::collections::BTreeSet;

use super::{
    Example,
    Tailnet::{Chosen, Rivals, Routed},
    accepted, check, routes,
};

#[test]
fn rules_to_subnets_and_the_internet() {
    check(&[
        Example {
            shows: "both routers of a subnet have the rule",
            tailnet: Routed,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["192.168.1.0/24:*"]}]"#,
            told: &[("twin1, twin2", &["wild -> 192.168.1.0/24:*"])],
            peers: "twin1, twin2 <-> everyone",
        },
        Example {
            shows: "a wider router has the rule too",
            tailnet: Routed,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["10.33.0.0/16:*"]}]"#,
            told: &[("gate, wide", &["wild -> 10.33.0.0/16:*"])],
            peers: "gate, wide <-> everyone",
        },
        Example {
            shows: "one address of a subnet",
            tailnet: Routed,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["10.33.0.100/32:80"]}]"#,
            told: &[("gate, wide", &["wild -> 10.33.0.100:80"])],
            peers: "gate, wide <-> everyone",
        },
        Example {
            shows: "people to a port of a subnet",
            tailnet: Routed,
            policy: r#""acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["10.33.0.0/16:22"]}]"#,
            told: &[("gate, wide", &["anas bens cleos -> 10.33.0.0/16:22"])],
            peers: "anas, bens, cleos <-> gate, wide",
        },
        Example {
            shows: "subnet to subnet: the far router alone has a rule",
            tailnet: Routed,
            policy: r#""acls": [{"action": "accept", "src": ["192.168.1.0/24"], "dst": ["172.16.0.0/24:*"]}]"#,
            told: &[("both", &["192.168.1.0/24 -> 172.16.0.0/24:*"])],
            peers: "twin1, twin2 <-> both",
        },
        Example {
            shows: "a tag to a subnet, of nodes with several tags too",
            tailnet: Routed,
            policy: r#""acls": [{"action": "accept", "src": ["tag:gate"], "dst": ["192.168.1.0/24:*"]}]"#,
            told: &[("twin1, twin2", &["gate wide both -> 192.168.1.0/24:*"])],
            peers: "gate, wide, both <-> twin1, twin2",
        },
        Example {
            shows: "the internet through approved exit nodes",
            tailnet: Routed,
            policy: r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:internet:*"]}]"#,
            told: &[("opened, both", &["wild -> inet:*"])],
            peers: "opened, both <-> everyone",
        },
    ]);
}

#[test]
fn rules_through_chosen_routers_and_capabilities_behind_routers() {
    check(&[Example {
        shows: "capabilities behind a router are granted on prefixes",
        tailnet: Routed,
        policy: r#""ipsets": {"ipset:some": ["10.33.0.0-10.33.0.6"]},
                "grants": [{"src": ["tag:probe"], "dst": ["10.33.0.100", "ipset:some", "fd7a:115c:a1e0::a"], "app": {"example.com/cap/a": []}}]"#,
        told: &[
            (
                "gate, wide",
                &[
                    r#"probe => 10.33.0.100/32 {"example.com/cap/a": []}"#,
                    r#"probe => 10.33.0.0/30 10.33.0.4/31 10.33.0.6/32 {"example.com/cap/a": []}"#,
                ],
            ),
            (
                "api",
                &[r#"probe => fd7a:115c:a1e0::a/128 {"example.com/cap/a": []}"#],
            ),
        ],
        peers: "probe <-> gate, wide, api",
    }]);
}

#[test]
fn rules_by_chosen_routers() {
    check(&[
        Example {
            shows: "each client by its chosen router",
            tailnet: Chosen,
            policy: r#""grants": [{"src": ["tag:one"], "dst": ["10.44.0.0/16"], "ip": ["*"], "via": ["tag:four"]},
                {"src": ["tag:two"], "dst": ["10.55.0.0/16"], "ip": ["*"], "via": ["tag:five"]}]"#,
            told: &[
                ("four", &["one -> 10.44.0.0/16:*"]),
                ("five", &["two -> 10.55.0.0/16:*"]),
            ],
            peers: "four <-> one; five <-> two",
        },
        Example {
            shows: "chosen routers do not lead to own devices",
            tailnet: Chosen,
            policy: r#""grants": [{"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["*"], "via": ["tag:gate"]}]"#,
            told: &[],
            peers: "",
        },
        Example {
            shows: "a capability alone by a chosen router makes peers and no rule",
            tailnet: Chosen,
            policy: r#""grants": [{"src": ["*"], "dst": ["10.33.0.0/16"], "app": {"example.com/cap/a": []}, "via": ["tag:gate"]}]"#,
            told: &[],
            peers: "gate <-> everyone",
        },
        Example {
            shows: "a chosen router that is a source itself sees whoever else routes a part of the destination",
            tailnet: Chosen,
            policy: r#""grants": [{"src": ["tag:four"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:four"]}]"#,
            told: &[("four", &["four -> 10.0.0.0/8:*"])],
            peers: "four <-> gate, five",
        },
        Example {
            shows: "a chosen exit node that is a source itself sees the other exit nodes",
            tailnet: Routed,
            policy: r#""grants": [{"src": ["172.16.0.0/24"], "dst": ["autogroup:internet"], "ip": ["*"], "via": ["tag:gate"]}]"#,
            told: &[("both", &["172.16.0.0/24 -> inet:*"])],
            peers: "both <-> opened",
        },
        Example {
            shows: "a chosen router for a part of its route",
            tailnet: Chosen,
            policy: r#""grants": [{"src": ["tag:one"], "dst": ["10.33.5.0/24"], "ip": ["*"], "via": ["tag:gate"]}]"#,
            told: &[("gate", &["one -> 10.33.5.0/24:*"])],
            peers: "gate <-> one",
        },
    ]);
}

/// Compares the routes each viewer has, `viewer: peer route route, peer route`; viewers not named have none.
fn leads(tailnet: super::Tailnet, policy: &'static str, shows: &'static str, expected: &[&str]) {
    let example = Example {
        shows,
        tailnet,
        policy,
        told: &[],
        peers: "",
    };
    let found: BTreeSet<_> = routes(&accepted(&example))
        .into_iter()
        .map(|((viewer, peer), routes)| format!("{viewer}: {peer} {}", routes.join(" ")))
        .collect();
    let expand = |line: &&str| {
        let (viewers, peers) = line.split_once(": ").unwrap();
        let viewers: Vec<_> = viewers.split(", ").map(str::to_owned).collect();
        let peers: Vec<_> = peers.split(", ").map(str::to_owned).collect();
        let each = viewers.into_iter().flat_map(move |viewer| {
            peers
                .clone()
                .into_iter()
                .map(move |peer| format!("{viewer}: {peer}"))
        });
        each.collect::<Vec<_>>()
    };
    let expected: BTreeSet<_> = expected.iter().flat_map(expand).collect();
    assert_eq!(found, expected, "{shows}");
}

#[test]
fn routes_are_shown_to_those_who_may_use_them_and_through_one_router() {
    leads(
        Routed,
        r#""acls": [{"action": "accept", "src": ["*"], "dst": ["192.168.1.0/24:*"]}]"#,
        "everything to a subnet: its standby sees it too, and the routers see what is behind others",
        &[
            "anas, bens, cleos, api, probe, live, gate, opened, wide, both: twin1 192.168.1.0/24",
            "twin2: twin1 192.168.1.0/24, wide 10.0.0.0/8, gate 10.33.0.0/16, both 172.16.0.0/24",
            "twin1: wide 10.0.0.0/8, gate 10.33.0.0/16, both 172.16.0.0/24",
        ],
    );
    leads(
        Routed,
        r#""acls": [{"action": "accept", "src": ["*"], "dst": ["10.33.0.0/16:*"]}]"#,
        "everything to a subnet inside a wider one: a router sees what is behind others, not its own",
        &[
            "anas, bens, cleos, api, probe, live, opened, twin1, twin2, both: gate 10.33.0.0/16, wide 10.0.0.0/8",
            "gate: wide 10.0.0.0/8, twin1 192.168.1.0/24, both 172.16.0.0/24",
            "wide: gate 10.33.0.0/16, twin1 192.168.1.0/24, both 172.16.0.0/24",
        ],
    );
    leads(
        Routed,
        r#""acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]"#,
        "everything to everything",
        &[
            "anas, bens, cleos, api, probe, live, twin2: gate 10.33.0.0/16, wide 10.0.0.0/8, twin1 192.168.1.0/24, both 172.16.0.0/24 0.0.0.0/0 ::/0, opened 0.0.0.0/0 ::/0",
            "gate: wide 10.0.0.0/8, twin1 192.168.1.0/24, both 172.16.0.0/24 0.0.0.0/0 ::/0, opened 0.0.0.0/0 ::/0",
            "wide: gate 10.33.0.0/16, twin1 192.168.1.0/24, both 172.16.0.0/24 0.0.0.0/0 ::/0, opened 0.0.0.0/0 ::/0",
            "twin1: gate 10.33.0.0/16, wide 10.0.0.0/8, both 172.16.0.0/24 0.0.0.0/0 ::/0, opened 0.0.0.0/0 ::/0",
            "both: gate 10.33.0.0/16, wide 10.0.0.0/8, twin1 192.168.1.0/24, opened 0.0.0.0/0 ::/0",
            "opened: gate 10.33.0.0/16, wide 10.0.0.0/8, twin1 192.168.1.0/24, both 172.16.0.0/24 0.0.0.0/0 ::/0",
        ],
    );
    leads(
        Routed,
        r#""acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["10.33.0.0/16:22"]}]"#,
        "people to a subnet",
        &["anas, bens, cleos: gate 10.33.0.0/16, wide 10.0.0.0/8"],
    );
    leads(
        Routed,
        r#""acls": [{"action": "accept", "src": ["192.168.1.0/24"], "dst": ["172.16.0.0/24:*"]}]"#,
        "subnet to subnet: each router sees the other's, not its exits",
        &[
            "twin1, twin2: both 172.16.0.0/24",
            "both: twin1 192.168.1.0/24",
        ],
    );
    leads(
        Routed,
        r#""acls": [{"action": "accept", "src": ["tag:gate"], "dst": ["192.168.1.0/24:*"]}]"#,
        "a tag to a subnet",
        &["gate, wide, both: twin1 192.168.1.0/24"],
    );
    leads(
        Routed,
        r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:internet:*"]}]"#,
        "everything to the internet: exits, and behind exit nodes the subnets that are sources",
        &[
            "anas, bens, cleos, api, probe, live, gate, wide, twin1, twin2: opened 0.0.0.0/0 ::/0, both 0.0.0.0/0 ::/0",
            "opened: both 172.16.0.0/24 0.0.0.0/0 ::/0, wide 10.0.0.0/8, gate 10.33.0.0/16, twin1 192.168.1.0/24",
            "both: opened 0.0.0.0/0 ::/0, wide 10.0.0.0/8, gate 10.33.0.0/16, twin1 192.168.1.0/24",
        ],
    );
}

/// Two routers of one subnet, two clients, all of them peers.
const MESH: &str = r#"{"src": ["tag:north", "tag:south", "tag:one", "tag:two"], "dst": ["tag:north", "tag:south", "tag:one", "tag:two"], "ip": ["*"]},
    {"src": ["tag:one"], "dst": ["10.44.0.0/16"], "ip": ["*"], "via": ["tag:north"]},
    {"src": ["tag:two"], "dst": ["10.44.0.0/16"], "ip": ["*"], "via": ["tag:south"]}"#;

#[test]
fn each_client_has_the_route_through_its_chosen_router_unless_another_rule_gives_it_the_common_one()
{
    let chosen: &'static str = Box::leak(format!(r#""grants": [{MESH}]"#).into_boxed_str());
    leads(
        Rivals,
        chosen,
        "by chosen routers",
        &[
            "one: north 10.44.0.0/16",
            "two: south 10.44.0.0/16",
            "south: north 10.44.0.0/16",
        ],
    );
    let ordinary = r#"{"src": ["tag:one", "tag:two"], "dst": ["10.44.0.0/16"], "ip": ["*"]}"#;
    let common: &'static str =
        Box::leak(format!(r#""grants": [{MESH}, {ordinary}]"#).into_boxed_str());
    leads(
        Rivals,
        common,
        "by an ordinary rule beside",
        &["one, two, south: north 10.44.0.0/16"],
    );
}

#[test]
fn being_reached_from_a_subnet_does_not_override_the_choice_of_a_router() {
    let reached = r#"{"src": ["*"], "dst": ["tag:two"], "ip": ["22"]}"#;
    let policy: &'static str =
        Box::leak(format!(r#""grants": [{MESH}, {reached}]"#).into_boxed_str());
    leads(
        Rivals,
        policy,
        "by chosen routers, and reached from behind them",
        &[
            "one: north 10.44.0.0/16",
            "two: south 10.44.0.0/16",
            "south: north 10.44.0.0/16",
        ],
    );
}

#[test]
fn chosen_routers_see_the_subnets_that_their_rules_connect_them_with() {
    leads(
        Chosen,
        r#""grants": [{"src": ["*"], "dst": ["10.33.0.0/16"], "ip": ["*"], "via": ["tag:gate"]}]"#,
        "the subnets among the sources",
        &[
            "anas, bens, cleos, api, probe, live, door, one, two, four, five: gate 10.33.0.0/16",
            "gate: four 10.44.0.0/16, five 10.55.0.0/16",
        ],
    );
    leads(
        Chosen,
        r#""grants": [{"src": ["tag:four"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:four"]}]"#,
        "other parts of the destination",
        &["four: gate 10.33.0.0/16, five 10.55.0.0/16"],
    );
    leads(
        Routed,
        r#""grants": [{"src": ["172.16.0.0/24"], "dst": ["autogroup:internet"], "ip": ["*"], "via": ["tag:gate"]}]"#,
        "exits, and the subnet that is a source to the other exit node",
        &["both: opened 0.0.0.0/0 ::/0", "opened: both 172.16.0.0/24"],
    );
}

#[test]
fn routes_are_approved_by_who_offers_them_and_by_prefixes_that_contain_them() {
    let policy = |sections: &str| {
        let text = format!(
            r#"{{"tagOwners": {{"tag:gate": [], "tag:twin": [], "tag:door": []}}, {sections}}}"#
        );
        Policy::parse(&text, &DocumentContext::default()).unwrap()
    };
    let approved = |policy: &Policy, tags: &[&str], offered: &[&str]| {
        let node = Applicant {
            tags: tags.iter().map(ToString::to_string).collect(),
            ..Applicant::default()
        };
        let offered: Vec<_> = offered.iter().map(|route| route.parse().unwrap()).collect();
        approved_routes(policy, &node, &offered)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let exits = ["0.0.0.0/0", "::/0"];
    let usual = policy(
        r#""autoApprovers": {"routes": {"10.0.0.0/8": ["tag:gate"], "192.168.0.0/16": ["tag:twin"]}, "exitNode": ["tag:door"]}"#,
    );
    assert_eq!(
        approved(&usual, &["tag:gate"], &["10.33.0.0/16", "192.168.1.0/24"]),
        ["10.33.0.0/16"]
    );
    assert_eq!(approved(&usual, &["tag:gate", "tag:door"], &exits), exits);
    assert!(approved(&usual, &["tag:gate"], &exits).is_empty());
    let by_prefix =
        policy(r#""autoApprovers": {"routes": {"0.0.0.0/0": ["tag:door"], "::/0": ["tag:door"]}}"#);
    assert!(
        approved(&by_prefix, &["tag:door"], &exits).is_empty(),
        "exits are approved by exitNode alone"
    );
    assert_eq!(
        approved(&by_prefix, &["tag:door"], &["172.16.0.0/24"]),
        ["172.16.0.0/24"]
    );
    let narrow = policy(r#""autoApprovers": {"routes": {"10.33.0.0/16": ["tag:gate"]}}"#);
    assert!(
        approved(&narrow, &["tag:gate"], &["10.0.0.0/8"]).is_empty(),
        "wider than what is approved"
    );
    assert!(approved(&policy(r#""acls": []"#), &["tag:gate"], &["10.33.0.0/16"]).is_empty());
}
