//! Capabilities by name.

use std::collections::BTreeMap;

use serde::{Serialize as _, Serializer};
use serde_json::value::RawValue;

/// Capabilities by name, each with its values as the policy has them; `None` where the policy has `null`.
///
/// `None` is written as `[]`: no list is ever written as `null` (protocol section 7.1).
pub type CapMap = BTreeMap<String, Option<Vec<Box<RawValue>>>>;

/// Writes capabilities without a `null`.
pub(crate) fn write_cap_map<S: Serializer>(map: &CapMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        map.iter()
            .map(|(name, values)| (name, values.as_deref().unwrap_or_default())),
    )
}

/// Writes capabilities that may be absent without a `null` inside.
pub(crate) fn write_optional_cap_map<S: Serializer>(
    map: &Option<CapMap>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match map {
        Some(map) => write_cap_map(map, serializer),
        None => None::<()>.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
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
}
