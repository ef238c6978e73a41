//! What the audit trail tells of a change: how what differs was before, and how it is after.

use serde_json::{Map, Value, json};

/// Returns `{"before": …, "after": …}` with what differs between two objects; objects inside them are compared alike,
/// and what only one side has stands on that side alone.
pub fn differences(before: &Value, after: &Value) -> Value {
    let (before, after) = differing(before, after);
    json!({ "before": before, "after": after })
}

fn differing(before: &Value, after: &Value) -> (Value, Value) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return (before.clone(), after.clone());
    };
    let (mut was, mut is) = (Map::new(), Map::new());
    for (name, value) in before {
        match after.get(name) {
            Some(now) if now == value => {}
            Some(now) => {
                let (one, other) = differing(value, now);
                was.insert(name.clone(), one);
                is.insert(name.clone(), other);
            }
            None => drop(was.insert(name.clone(), value.clone())),
        }
    }
    let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
    is.extend(new.map(|(name, value)| (name.clone(), value.clone())));
    (Value::Object(was), Value::Object(is))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let before = json!({ "same": 1, "role": "member", "split": { "a.test": ["10.0.0.1"], "b.test": [] } });
        let after = json!({ "same": 1, "role": "admin", "split": { "b.test": [], "c.test": ["10.0.0.2"] } });
        assert_eq!(
            differences(&before, &after),
            json!({
                "before": { "role": "member", "split": { "a.test": ["10.0.0.1"] } },
                "after": { "role": "admin", "split": { "c.test": ["10.0.0.2"] } },
            })
        );
    }
}
