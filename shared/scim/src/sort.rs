//! The order that `sortBy` asks for (RFC 7644 section 3.4.2.3).

use chrono::{DateTime, FixedOffset};
use serde_json::{Map, Value};

use crate::{path::FieldPath, resource::is_primary, schema::ValueKind};

/// How much of a text is compared, in bytes: so that the keys of many resources are small.
const COMPARED: usize = 200;

/// What a resource is sorted by. One without the value comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// A text, in lower case where case does not matter.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A time.
    Time(DateTime<FixedOffset>),
    /// Nothing.
    Missing,
}

impl SortKey {
    /// Returns the key of a resource: of a list, the primary value or else the first.
    #[must_use]
    pub fn of(path: &FieldPath, resource: &Map<String, Value>) -> Self {
        let list = path
            .home(resource)
            .and_then(|home| home.get(path.attribute.name));
        let mut list = list.and_then(Value::as_array).into_iter().flatten();
        let part = path.part.map_or("value", |part| part.name);
        let primary = list.find(|value| is_primary(value));
        let leaf = path.leaf();
        let leaf = leaf.find_part("value").unwrap_or(leaf);
        let first = || path.find_values(resource).first().copied();
        let value = primary.and_then(|value| value.get(part)).or_else(first);
        match value {
            Some(Value::Bool(value)) => Self::Boolean(*value),
            Some(Value::String(text)) if leaf.kind == ValueKind::DateTime => {
                DateTime::parse_from_rfc3339(text).map_or(Self::Missing, Self::Time)
            }
            Some(Value::String(text)) => {
                let mut key = match leaf.is_case_exact {
                    true => text.clone(),
                    false => text.to_lowercase(),
                };
                let mut end = key.len().min(COMPARED);
                while !key.is_char_boundary(end) {
                    end -= 1;
                }
                key.truncate(end);
                key.shrink_to_fit();
                Self::Text(key)
            }
            _ => Self::Missing,
        }
    }
}

#[cfg(test)]
mod tests;
