//! Filters (RFC 7644 section 3.4.2.2).
//!
//! A filter is read once, against the schema of what it is asked of: names are looked up, and what can not be compared is
//! refused. It is then judged against many resources.
//!
//! ```
//! use bowline_scim::{ScimFilter, ScimType};
//! use serde_json::json;
//!
//! let filter = ScimFilter::parse(ScimType::User, r#"emails[type eq "work" and value ew "@example.com"] or not (active eq true)"#)?;
//! let amira = json!({ "active": true, "emails": [{ "type": "work", "value": "amira@EXAMPLE.com" }] });
//! assert!(filter.matches(amira.as_object().expect("an object")));
//! # Ok::<_, bowline_scim::ScimError>(())
//! ```

mod compare;
mod reader;

use serde_json::{Map, Value};

pub(crate) use compare::read_boolean;
use compare::{CompareOperator, Operand};

use crate::{
    error::{ScimError, ScimErrorKind},
    path::FieldPath,
    schema::{ScimAttribute, ScimType},
};

/// The longest filter, in bytes.
pub const LONGEST_FILTER: usize = 8192;
/// How deep parentheses and brackets may be.
pub const DEEPEST: usize = 30;
/// The most comparisons of a filter.
pub const MOST_COMPARISONS: usize = 200;

/// A filter that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ScimFilter(Condition);

/// What a resource, or one value of a list, has to be like.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// All of them.
    All(Vec<Condition>),
    /// One of them.
    Any(Vec<Condition>),
    /// It is not so.
    Not(Box<Condition>),
    /// A field compares so.
    Compare(Field, CompareOperator, Operand),
    /// A field has a value.
    Present(Field),
    /// One value of a list is like this.
    Value(FieldPath, Box<Condition>),
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    /// Of a resource.
    Resource(FieldPath),
    /// Of a value of a list.
    Part(&'static ScimAttribute),
}

impl Field {
    fn leaf(&self) -> &'static ScimAttribute {
        let leaf = match self {
            Self::Resource(path) => path.leaf(),
            Self::Part(part) => part,
        };
        // `emails co "x"` is about the addresses.
        leaf.find_part("value").unwrap_or(leaf)
    }

    fn find_values<'a>(&self, of: &'a Map<String, Value>) -> Vec<&'a Value> {
        match self {
            Self::Resource(path) => path.find_values(of),
            Self::Part(part) => of.get(part.name).into_iter().collect(),
        }
    }
}

impl ScimFilter {
    /// Reads the filter of a request.
    ///
    /// # Errors
    ///
    /// When it is none, or too long or deep; in words that say where.
    pub fn parse(of: ScimType, text: &str) -> Result<Self, ScimError> {
        reader::read_filter(reader::Subject::Resource(of), text).map(Self)
    }

    /// Reads the beginning of a text as the filter of a list's values, up to the bracket that closes it; returns what is behind
    /// the bracket.
    pub(crate) fn parse_of_values<'a>(
        list: &'static ScimAttribute,
        text: &'a str,
    ) -> Result<(Self, &'a str), ScimError> {
        let (condition, rest) = reader::read_value_filter(list, text)?;
        Ok((Self(condition), rest))
    }

    /// Says whether a resource, or a value of a list, is as the filter asks.
    #[must_use]
    pub fn matches(&self, of: &Map<String, Value>) -> bool {
        matches(&self.0, of)
    }

    /// Returns a field of these names that has to equal a text, so that what is asked for is found by an index: everything
    /// that the filter matches has that text there.
    #[must_use]
    pub fn find_equality<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &str)> {
        find_equality(&self.0, names)
    }

    /// Returns the one member that a group has to have.
    #[must_use]
    pub fn find_member(&self) -> Option<&str> {
        let found = self.find_equality(&["members", "members.value"]);
        found.map(|(_, member)| member)
    }

    /// Says whether it asks about an attribute.
    #[must_use]
    pub fn asks_about(&self, attribute: &str) -> bool {
        asks_about(&self.0, attribute)
    }

    /// Returns the texts of which a value's part has to equal one, where the filter asks for nothing else.
    pub(crate) fn alternatives(&self, part: &str) -> Option<Vec<&str>> {
        match &self.0 {
            Condition::Any(all) => all.iter().map(|one| read_equality(one, part)).collect(),
            one => read_equality(one, part).map(|text| vec![text]),
        }
    }

    /// Returns the texts that the parts of a value have to equal; `None` where it asks for anything else. A value that is made
    /// for the filter has them.
    pub(crate) fn equalities(&self) -> Option<Vec<(&'static str, Value)>> {
        let read = |condition: &Condition| match condition {
            Condition::Compare(Field::Part(part), CompareOperator::Equal, operand) => {
                Some((part.name, operand.to_value()))
            }
            _ => None,
        };
        match &self.0 {
            Condition::All(all) => all.iter().map(read).collect(),
            one => read(one).map(|one| vec![one]),
        }
    }
}

fn read_equality<'a>(condition: &'a Condition, part: &str) -> Option<&'a str> {
    match condition {
        Condition::Compare(Field::Part(of), CompareOperator::Equal, Operand::Text(text))
            if of.name == part =>
        {
            Some(text)
        }
        _ => None,
    }
}

fn matches(condition: &Condition, of: &Map<String, Value>) -> bool {
    match condition {
        Condition::All(all) => all.iter().all(|one| matches(one, of)),
        Condition::Any(any) => any.iter().any(|one| matches(one, of)),
        Condition::Not(one) => !matches(one, of),
        Condition::Present(field) => field.find_values(of).into_iter().any(has_content),
        Condition::Compare(field, operator, operand) => {
            let leaf = field.leaf();
            operand.compares(*operator, leaf, &field.find_values(of))
        }
        Condition::Value(path, one) => {
            let list = path.home(of).and_then(|home| home.get(path.attribute.name));
            let values: &[Value] = match list {
                Some(Value::Array(values)) => values,
                Some(value) => std::slice::from_ref(value),
                None => &[],
            };
            let mut objects = values.iter().filter_map(Value::as_object);
            objects.any(|value| matches(one, value))
        }
    }
}

fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(parts) => !parts.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn find_equality<'a, 'n>(
    condition: &'a Condition,
    names: &[&'n str],
) -> Option<(&'n str, &'a str)> {
    match condition {
        Condition::All(all) => all.iter().find_map(|one| find_equality(one, names)),
        Condition::Compare(field, CompareOperator::Equal, Operand::Text(text)) => {
            let Field::Resource(path) = field else {
                return None;
            };
            let name = path.name();
            let found = names.iter().find(|wanted| **wanted == name)?;
            Some((found, text))
        }
        Condition::Value(path, one) => {
            let list = path.name();
            let is_of_list = |name: &&&str| name.split_once('.').is_some_and(|(of, _)| of == list);
            let wanted = names.iter().find(is_of_list)?;
            let (_, part) = wanted.split_once('.')?;
            let of_part = match &**one {
                Condition::All(all) => all.iter().find_map(|one| read_equality(one, part)),
                one => read_equality(one, part),
            };
            of_part.map(|text| (*wanted, text))
        }
        _ => None,
    }
}

fn asks_about(condition: &Condition, attribute: &str) -> bool {
    match condition {
        Condition::All(some) | Condition::Any(some) => {
            some.iter().any(|one| asks_about(one, attribute))
        }
        Condition::Not(one) => asks_about(one, attribute),
        Condition::Compare(Field::Resource(path), ..)
        | Condition::Present(Field::Resource(path))
        | Condition::Value(path, _) => path.attribute.name == attribute,
        Condition::Compare(..) | Condition::Present(_) => false,
    }
}

/// Returns the error of a filter that can not be read.
fn refuse(detail: impl std::fmt::Display) -> ScimError {
    ScimError::new(ScimErrorKind::InvalidFilter, detail)
}

#[cfg(test)]
mod tests;
