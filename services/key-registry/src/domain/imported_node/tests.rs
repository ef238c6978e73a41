use bowline_proto::key_registry::v1::{Endpoint, ImportedNode, Node, SoftState, TaggedBy};
use chrono::{DateTime, TimeDelta};

use super::check_node;
use crate::domain::to_timestamp;

fn node() -> Node {
    Node {
        machine_key: vec![1; 32],
        node_key: vec![2; 32],
        user_id: 7,
        name: "laptop".to_owned(),
        ipv4: "100.64.0.9".to_owned(),
        ipv6: "fd7a:115c:a1e0::9".to_owned(),
        ..Node::default()
    }
}

fn check(node: Node) -> Result<Node, String> {
    let imported = ImportedNode {
        node: Some(node),
        state: None,
    };
    let checked = check_node(imported, 3, DateTime::UNIX_EPOCH);
    checked
        .map(|(node, _)| node)
        .map_err(|error| error.to_string())
}

#[test]
fn a_node_keeps_its_keys_and_addresses_and_has_the_tailnet_of_the_request() {
    let kept = check(Node {
        tailnet_id: 99,
        id: 5,
        primary_routes: vec!["10.0.0.0/8".to_owned()],
        ..node()
    });
    let kept = kept.expect("it is right");
    assert_eq!((kept.tailnet_id, kept.id, kept.approved), (3, 0, true));
    assert_eq!(
        (&*kept.ipv4, &*kept.ipv6),
        ("100.64.0.9", "fd7a:115c:a1e0::9")
    );
    assert!(kept.primary_routes.is_empty(), "the registry elects");
}

#[test]
fn tags_are_an_administrators_and_one_exit_route_brings_the_other() {
    let kept = check(Node {
        user_id: 0,
        tags: vec!["tag:web".to_owned(), "tag:db".to_owned()],
        approved_routes: vec!["0.0.0.0/0".to_owned(), "10.1.2.3/16".to_owned()],
        ..node()
    });
    let kept = kept.expect("it is right");
    assert_eq!(kept.tags, ["tag:db", "tag:web"]);
    assert_eq!(kept.tagged_by(), TaggedBy::Administrator);
    assert_eq!(kept.approved_routes, ["0.0.0.0/0", "10.1.0.0/16", "::/0"]);
}

#[test]
fn a_key_that_has_ended_is_ended() {
    let end = |seconds| {
        let end = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let kept = check(Node {
            key_expiry: Some(to_timestamp(end)),
            ..node()
        });
        kept.expect("it is right").expired
    };
    assert!(end(-1));
    assert!(!end(1));
}

#[test]
fn what_can_not_be_right_is_refused() {
    let refused = [
        (
            Node {
                machine_key: vec![1; 31],
                ..node()
            },
            "machine_key",
        ),
        (
            Node {
                node_key: vec![0; 32],
                ..node()
            },
            "node_key",
        ),
        (
            Node {
                name: "Laptop".to_owned(),
                ..node()
            },
            "name",
        ),
        (
            Node {
                user_id: 0,
                ..node()
            },
            "neither a user nor tags",
        ),
        (
            Node {
                tags: vec!["web".to_owned()],
                ..node()
            },
            "tags",
        ),
        (
            Node {
                ipv4: "10.0.0.1".to_owned(),
                ..node()
            },
            "no address in 100.64.0.0/10",
        ),
        (
            Node {
                ipv6: "fd00::1".to_owned(),
                ..node()
            },
            "no address in fd7a",
        ),
        (
            Node {
                approved_routes: vec!["all".to_owned()],
                ..node()
            },
            "routes",
        ),
        (
            Node {
                hostname: "h".repeat(257),
                ..node()
            },
            "hostname",
        ),
    ];
    for (node, text) in refused {
        let problem = check(node).expect_err(text);
        assert!(problem.contains(text), "{problem}");
    }
}

#[test]
fn endpoints_are_addresses_with_ports() {
    let endpoint = |address: &str| ImportedNode {
        node: Some(node()),
        state: Some(SoftState {
            endpoints: vec![Endpoint {
                address: address.to_owned(),
                kind: 0,
            }],
            ..SoftState::default()
        }),
    };
    let check = |address| check_node(endpoint(address), 3, DateTime::UNIX_EPOCH).is_ok();
    assert!(check("192.0.2.1:41641"));
    assert!(!check("192.0.2.1"));
}
