//! What the audit trail shows of a change: the values that differ, before and after.

use serde_json::{Map, Value, json};

/// Returns `{"before": …, "after": …}` with the members of two objects that differ. Objects inside them are compared the same
/// way. A member that only one of them has is shown on that side only.
///
/// Example: `{"a": 1, "b": {"c": 2, "d": 3}}` and `{"a": 1, "b": {"c": 4, "d": 3}}` give
/// `{"before": {"b": {"c": 2}}, "after": {"b": {"c": 4}}}`.
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
