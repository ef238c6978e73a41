//! One test for each kind of row of protocol section 7.7.

use super::*;
use crate::{
    DerpMap, DerpRegion, DisplayMessage, DnsConfig, DnsRecord, PeerChange, PingRequest, PortRange,
    Resolver, SshPolicy,
};

fn rules() -> Vec<FilterRule> {
    let rule = |ip: &str, ip_proto| FilterRule {
        src_ips: vec!["100.64.0.0/10".to_owned(), "fd7a:115c:a1e0::/48".to_owned()],
        dst_ports: vec![NetPortRange {
            ip: ip.to_owned(),
            ports: PortRange { first: 1, last: 2 },
            ..NetPortRange::default()
        }],
        ip_proto,
        ..FilterRule::default()
    };
    let grant = FilterRule {
        cap_grant: vec![CapGrant {
            cap_map: [("example.com/cap/x".to_owned(), None)].into(),
            ..CapGrant::default()
        }],
        ..FilterRule::default()
    };
    let capable = FilterRule {
        src_ips: vec!["cap:example.com/x".to_owned()],
        ..rule("100.64.0.9", vec![])
    };
    let mixed = FilterRule {
        src_ips: vec!["100.64.0.7".to_owned(), "cap:example.com/x".to_owned()],
        ..rule("100.64.0.9", vec![])
    };
    vec![
        rule("*", vec![]),
        rule("10.0.0.0/8", vec![17]),
        grant,
        capable,
        mixed,
    ]
}

fn message() -> MapResponse {
    let prefixes = vec![
        "100.64.0.1/32".to_owned(),
        "fd7a:115c:a1e0::1/128".to_owned(),
    ];
    let node = Node {
        id: 1,
        home_derp: 900,
        addresses: prefixes.clone(),
        allowed_ips: prefixes,
        online: Some(true),
        cap_map: [("https".to_owned(), None)].into(),
        ..Node::default()
    };
    MapResponse {
        node: Some(node.clone()),
        peers: vec![
            node.clone(),
            Node {
                id: 2,
                expired: true,
                ..node.clone()
            },
        ],
        peers_changed: vec![Node {
            id: 3,
            expired: true,
            ..node
        }],
        peers_changed_patch: vec![PeerChange {
            node_id: 4,
            cap_map: Some([("https".to_owned(), None)].into()),
            ..PeerChange::default()
        }],
        packet_filters: [
            ("base".to_owned(), Some(rules())),
            ("gone".to_owned(), None),
        ]
        .into(),
        dns_config: Some(DnsConfig {
            resolvers: vec![Resolver {
                addr: "9.9.9.9".to_owned(),
                ..Resolver::default()
            }],
            routes: [("home.".to_owned(), vec![])].into(),
            domains: vec!["home".to_owned()],
            extra_records: vec![DnsRecord::default()],
            ..DnsConfig::default()
        }),
        ping_request: Some(PingRequest::default()),
        ssh_policy: Some(SshPolicy::default()),
        online_change: [(7, true)].into(),
        display_messages: [(
            "m".to_owned(),
            Some(DisplayMessage {
                text: "beware".to_owned(),
                ..DisplayMessage::default()
            }),
        )]
        .into(),
        derp_map: Some(DerpMap {
            regions: [(
                1,
                DerpRegion {
                    no_measure_no_home: true,
                    ..DerpRegion::default()
                },
            )]
            .into(),
            ..DerpMap::default()
        }),
        ..MapResponse::default()
    }
}

fn adapted(version: u16) -> MapResponse {
    let mut message = message();
    adapt_message(&mut message, Cap(version));
    message
}

/// Says whether something is so for `since - 1` and not for `since`.
fn begins_at(since: u16, old: impl Fn(&MapResponse) -> bool) {
    assert!(
        old(&adapted(since - 1)),
        "{since}: the version before does not get the old form"
    );
    assert!(
        !old(&adapted(since)),
        "{since}: the version itself gets the old form"
    );
}

#[test]
fn current_clients_get_the_message_as_it_is() {
    let json = |message| serde_json::to_value(message).unwrap();
    assert_eq!(json(adapted(142)), json(message()));
    assert_eq!(json(adapted(117)), json(message()));
}

#[test]
fn each_field_takes_its_old_form_below_its_version() {
    begins_at(117, |m| m.health == Some(vec!["beware".to_owned()]));
    begins_at(115, |m| {
        m.derp_map
            .as_ref()
            .is_some_and(|map| map.regions.is_empty())
    });
    begins_at(111, |m| {
        m.node
            .as_ref()
            .is_some_and(|n| n.derp.as_deref() == Some("127.3.3.40:900"))
    });
    begins_at(109, |m| {
        let rules = m.packet_filters["base"].as_ref();
        rules.is_some_and(|rules| {
            rules.len() == 4 && rules[3].src_ips == ["100.64.0.7"] && rules[2].src_ips.is_empty()
        })
    });
    begins_at(89, |m| {
        let change = &m.peers_changed_patch[0];
        change.cap_map.is_none() && change.capabilities.as_deref() == Some(&["https".to_owned()])
    });
    begins_at(81, |m| {
        m.packet_filters.is_empty() && m.packet_filter.is_some()
    });
    begins_at(74, |m| {
        m.node.as_ref().is_some_and(|n| n.capabilities == ["https"])
    });
    begins_at(67, |m| {
        m.packet_filter
            .iter()
            .flatten()
            .flat_map(|r| &r.cap_grant)
            .any(|g| !g.caps.is_empty())
    });
    begins_at(53, |m| {
        m.peers.len() == 1 && m.peers_removed == [3] && m.peers_changed.is_empty()
    });
}

#[test]
fn each_field_takes_the_form_of_clients_that_speak_boxes_only() {
    begins_at(32, |m| {
        m.packet_filter
            .iter()
            .flatten()
            .all(|rule| rule.cap_grant.is_empty())
    });
    begins_at(27, |m| m.ssh_policy.is_none());
    begins_at(24, |m| m.health.is_none());
    begins_at(23, |m| {
        m.dns_config
            .as_ref()
            .is_some_and(|dns| dns.routes.is_empty())
    });
    begins_at(22, |m| {
        m.dns_config
            .as_ref()
            .is_some_and(|dns| dns.extra_records.is_empty())
    });
    begins_at(16, |m| {
        m.online_change.is_empty() && m.node.as_ref().is_some_and(|n| n.online.is_none())
    });
    begins_at(14, |m| {
        m.dns_config
            .as_ref()
            .is_some_and(|dns| dns.nameservers == ["9.9.9.9"])
    });
    begins_at(13, |m| {
        m.packet_filter
            .iter()
            .flatten()
            .all(|rule| rule.ip_proto.is_empty())
    });
    begins_at(12, |m| m.ping_request.is_none());
    begins_at(11, |m| {
        m.node
            .as_ref()
            .is_some_and(|n| n.addresses == ["100.64.0.1/32"])
    });
    begins_at(9, |m| {
        m.dns_config.is_none() && m.dns == ["9.9.9.9"] && m.search_paths == ["home"]
    });
    begins_at(7, |m| {
        m.packet_filter
            .iter()
            .flatten()
            .any(|r| r.src_ips == ["100.64.0.0"] && r.src_bits == [10])
    });
}

#[test]
fn oldest_clients_are_sent_whole_messages() {
    assert!(needs_full_messages(Cap(17)) && !needs_full_messages(Cap(18)));
    // A whole message for every change costs a full encoding each time.
    assert!(is_paced(Cap(17)) && !is_paced(Cap(18)));
    assert!(!takes_patches(Cap(35)) && takes_patches(Cap(36)));
}

#[test]
fn hash_of_a_certificate_is_told_only_to_those_who_do_not_take_it_for_a_name() {
    let cert_names = |version| {
        let node = |cert_name: &str| crate::DerpNode {
            cert_name: cert_name.to_owned(),
            ..crate::DerpNode::default()
        };
        let region = DerpRegion {
            nodes: vec![node("sha256-raw:00ff"), node("relay.example.com")],
            ..DerpRegion::default()
        };
        let mut message = MapResponse {
            derp_map: Some(DerpMap {
                regions: [(1, region)].into(),
                ..DerpMap::default()
            }),
            ..MapResponse::default()
        };
        adapt_message(&mut message, Cap(version));
        let map = message.derp_map.unwrap();
        let nodes = map.regions.into_values().flat_map(|region| region.nodes);
        nodes.map(|node| node.cert_name).collect::<Vec<_>>()
    };
    assert_eq!(cert_names(114), ["", "relay.example.com"]);
    assert_eq!(cert_names(115), ["sha256-raw:00ff", "relay.example.com"]);
}

#[test]
fn whoever_needs_whole_messages_is_told_them_at_a_pace() {
    for version in [0, 4, 5, 17] {
        assert!(needs_full_messages(Cap(version)) && is_paced(Cap(version)));
    }
    for version in [18, 90, 148] {
        assert!(!needs_full_messages(Cap(version)) && !is_paced(Cap(version)));
    }
}
