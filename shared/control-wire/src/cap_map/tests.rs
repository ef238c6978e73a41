use super::*;
use crate::{CapGrant, Node, PeerChange};

#[test]
fn capabilities_without_values_are_written_as_empty_lists() {
    let value = RawValue::from_string(r#"{"b":1,"a":2}"#.to_owned()).unwrap();
    let cap_map: CapMap = [
        ("with".to_owned(), Some(vec![value])),
        ("without".to_owned(), None),
    ]
    .into();
    let written = r#""CapMap":{"with":[{"b":1,"a":2}],"without":[]}"#;
    let node = Node {
        cap_map: cap_map.clone(),
        ..Node::default()
    };
    let grant = CapGrant {
        cap_map: cap_map.clone(),
        ..CapGrant::default()
    };
    let change = PeerChange {
        cap_map: Some(cap_map),
        ..PeerChange::default()
    };
    for json in [
        serde_json::to_string(&node),
        serde_json::to_string(&grant),
        serde_json::to_string(&change),
    ] {
        let json = json.unwrap();
        assert!(json.contains(written), "{json}");
    }
    let unchanged = serde_json::to_string(&PeerChange::default()).unwrap();
    assert_eq!(unchanged, r#"{"NodeID":0}"#);
}
