//! Capabilities given to nodes.

use serde_json::Value;

use super::tailnet::{
    NODES,
    Tailnet::{self, Routed, Small},
};

/// Returns the nodes that have a capability.
fn holders(tailnet: Tailnet, sections: &str, name: &str) -> Vec<String> {
    let told = tailnet.told(sections);
    assert!(told.accepted, "{}", told.error);
    let has = |map: &Value| map.get(name).is_some();
    told.nodes
        .iter()
        .filter(|(_, node)| has(&node.cap_map))
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn attributes_reach_their_targets() {
    let random = "randomize-client-port";
    let sections = r#""nodeAttrs": [{"target": ["ben@partner.test", "tag:live"], "attr": ["randomize-client-port"]}]"#;
    assert_eq!(holders(Small, sections, random), ["bens", "live"]);
    let two = r#""nodeAttrs": [{"target": ["tag:api"], "attr": ["randomize-client-port"]}, {"target": ["tag:api"], "attr": ["nextdns:a", "nextdns:b"]}]"#;
    for name in [random, "nextdns:a", "nextdns:b"] {
        assert_eq!(holders(Small, two, name), ["api"]);
    }
    assert_eq!(
        holders(Small, r#""randomizeClientPort": true"#, random).len(),
        8
    );
    assert!(
        holders(
            Small,
            r#""OneCGNATRoute": "mac-never""#,
            "one-cgnat?v=false"
        )
        .is_empty(),
        "none of them runs macOS"
    );
    assert!(
        holders(
            Small,
            r#""nodeAttrs": [{"target": [], "attr": ["x"]}, {"target": ["*"]}]"#,
            "x"
        )
        .is_empty()
    );
    let funnel = r#""nodeAttrs": [{"target": ["tag:api"], "attr": ["funnel"]}]"#;
    assert_eq!(
        holders(
            Small,
            funnel,
            "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000"
        ),
        ["api"]
    );
    let connector = r#""nodeAttrs": [{"target": ["*"], "app": {"tailscale.com/app-connectors": [{"name": "a"}]}}]"#;
    assert_eq!(
        holders(Small, connector, "tailscale.com/app-connectors").len(),
        8
    );
}

#[test]
fn exit_nodes_are_suggested_to_their_peers() {
    let told =
        Routed.told(r#""nodeAttrs": [{"target": ["tag:door"], "attr": ["suggest-exit-node"]}]"#);
    assert!(
        told.nodes["opened"]
            .cap_map
            .get("suggest-exit-node")
            .is_some()
    );
    let seen = &told.nodes["anas"].peers["opened"];
    assert!(seen.cap_map.get("suggest-exit-node").is_some());
    assert_eq!(seen.allowed_ips[2..], ["0.0.0.0/0", "::/0"]);
    assert!(
        told.nodes["anas"].peers["gate"]
            .cap_map
            .get("suggest-exit-node")
            .is_none()
    );
}

#[test]
fn addresses_of_the_old_family_can_be_hidden_but_not_routes() {
    let told = Routed.told(r#""nodeAttrs": [{"target": ["tag:twin"], "attr": ["disable-ipv4"]}]"#);
    let only_ipv6 = |name: &str| format!("{}/128", NODES[name][1]);
    let seen = |viewer: &str, peer: &str| told.nodes[viewer].peers[peer].allowed_ips.clone();
    assert_eq!(
        seen("anas", "twin1"),
        [only_ipv6("twin1"), "192.168.1.0/24".to_owned()]
    );
    assert_eq!(seen("twin1", "anas"), [only_ipv6("anas")]);
    assert_eq!(seen("anas", "bens").len(), 2);
    assert_eq!(
        told.nodes["anas"].peers["twin1"].primary_routes,
        ["192.168.1.0/24"]
    );
    let sources = &told.nodes["api"].packet_filter_rules[0].src_ips;
    assert!(sources.contains(&"100.64.0.0-100.115.91.255".to_owned()));
    let all = Small.told(r#""disableIPv4": true"#);
    assert_eq!(
        all.nodes["anas"].peers["bens"].allowed_ips,
        [only_ipv6("bens")]
    );
}
