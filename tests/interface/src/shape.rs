//! The shape of JSON: which names stand where, and what kind of value each has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The kinds of value found under each path of some answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape(BTreeMap<String, BTreeSet<&'static str>>);

impl Shape {
    /// Adds what an answer has.
    pub fn add(&mut self, answer: &Value) {
        self.add_at("", answer);
    }

    fn add_at(&mut self, path: &str, value: &Value) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(elements) => {
                for element in elements {
                    self.add_at(&format!("{path}[]"), element);
                }
                "list"
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.add_at(&format!("{path}.{name}"), field);
                }
                "object"
            }
        };
        self.0.entry(path.to_owned()).or_default().insert(kind);
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (path, kinds) in &self.0 {
            let kinds: Vec<_> = kinds.iter().copied().collect();
            let path = if path.is_empty() { "answer" } else { path };
            writeln!(formatter, "  {path}: {}", kinds.join(" or "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
