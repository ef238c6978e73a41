//! What the audit trail says of a change: the values that differ, before and after it.

use serde_json::{Map, Value, json};

/// Returns `{"before": …, "after": …}` with what differs between two objects; objects inside them are compared alike,
/// and what only one side has stands on that side alone.
pub fn describe_change(before: &Value, after: &Value) -> Value {
    let (before, after) = split_changes(before, after);
    json!({ "before": before, "after": after })
}

fn split_changes(before: &Value, after: &Value) -> (Value, Value) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return (before.clone(), after.clone());
    };
    let (mut was, mut is) = (Map::new(), Map::new());
    for (name, value) in before {
        match after.get(name) {
            Some(now) if now == value => {}
            Some(now) => {
                let (one, other) = split_changes(value, now);
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
mod tests;
