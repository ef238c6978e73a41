//! Custom attributes of nodes: what they may be called, what they may say, and how many there may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bowline_ids::is_custom_attribute;
use bowline_proto::{
    key_registry::v1::{CustomAttribute, CustomValue, Node, custom_value::Kind},
    policy::v1::{AttributeConfig, AttributeType},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{from_timestamp, key::LONGEST_LIFE, to_timestamp};
use crate::error::RegistryError;

/// The most attributes of one node.
pub const MOST_ATTRIBUTES: usize = 50;
/// The longest value and the longest comment, in bytes.
const LONGEST_TEXT: usize = 200;

/// Why attributes are not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AttributeRefusal {
    /// The attribute has another type in this tailnet.
    #[error(
        "{name} is a {fixed} {fixed_by}, and can not be a {given}: give a {fixed} (with the command line: --type {fixed}){way_out}"
    )]
    OtherType {
        /// The attribute.
        name: String,
        /// The type that it has.
        fixed: AttributeKindName,
        /// What has fixed it, in words.
        fixed_by: String,
        /// The type that was given.
        given: AttributeKindName,
        /// What else can be done, in words.
        way_out: &'static str,
    },
    /// The node would have more than it may.
    #[error("{node} would have more than {MOST_ATTRIBUTES} custom attributes: remove some first")]
    TooMany {
        /// The node.
        node: String,
    },
    /// The policy does not leave the attribute to nodes.
    #[error(
        "the policy does not let devices set {0} for themselves: an administrator sets it, or allows it (allowSetByNode under attrConfig)"
    )]
    NotByNode(String),
    /// The node may not take part at the moment.
    #[error(
        "this device may not take part in the network at the moment: it has to be approved, enabled or to log in again, or its user \
         is suspended"
    )]
    NotInGoodStanding,
}

/// The type of an attribute, by the name that it has in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKindName {
    /// Texts.
    String,
    /// Numbers.
    Number,
    /// True or false.
    Bool,
}

impl AttributeKindName {
    const ALL: [(Self, &str); 3] = [
        (Self::String, "string"),
        (Self::Number, "number"),
        (Self::Bool, "bool"),
    ];

    /// Returns the type of a value.
    pub fn of_value(value: &Kind) -> Self {
        match value {
            Kind::Text(_) => Self::String,
            Kind::Number(_) => Self::Number,
            Kind::Flag(_) => Self::Bool,
        }
    }

    /// Returns the type that the policy fixes, if it does.
    pub fn of_config(config: &AttributeConfig) -> Option<Self> {
        match config.r#type() {
            AttributeType::Unspecified => None,
            AttributeType::String => Some(Self::String),
            AttributeType::Number => Some(Self::Number),
            AttributeType::Bool => Some(Self::Bool),
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        Some(all.find(|(_, known)| *known == name)?.0)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }
}

impl fmt::Display for AttributeKindName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// When an attribute ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeEnd {
    /// Never.
    Never,
    /// At a time.
    At(DateTime<Utc>),
    /// So long from now.
    After(TimeDelta),
}

/// An attribute that is to be set, within bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedAttribute {
    name: String,
    value: Kind,
    end: AttributeEnd,
    comment: String,
}

impl WantedAttribute {
    /// Checks an attribute that somebody wants to set.
    pub fn new(
        name: String,
        value: Option<CustomValue>,
        end: AttributeEnd,
        comment: String,
    ) -> Result<Self, RegistryError> {
        check_name(&name)?;
        let wrong = |problem: &str| RegistryError::invalid("value", format!("{name}: {problem}"));
        let value = value.and_then(|value| value.kind);
        let value = value.ok_or_else(|| wrong("a value is a text, a number, true or false"))?;
        match &value {
            Kind::Text(text) if !is_plain(text) || text.is_empty() => {
                return Err(wrong(
                    "a text has 1 to 200 bytes, and no control characters",
                ));
            }
            Kind::Number(number) if !number.is_finite() => return Err(wrong("a number is finite")),
            _ => {}
        }
        if !is_plain(&comment) {
            let problem =
                format!("{name}: a comment has at most 200 bytes, and no control characters");
            return Err(RegistryError::invalid("comment", problem));
        }
        Ok(Self {
            name,
            value,
            end,
            comment,
        })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the type of its value.
    pub fn kind(&self) -> AttributeKindName {
        AttributeKindName::of_value(&self.value)
    }

    fn attribute_from(&self, now: DateTime<Utc>) -> Result<CustomAttribute, RegistryError> {
        let wrong =
            |problem: &str| RegistryError::invalid("expiry", format!("{}: {problem}", self.name));
        let end = match self.end {
            AttributeEnd::Never => None,
            AttributeEnd::At(end) => Some(Some(end)),
            AttributeEnd::After(life) => Some(now.checked_add_signed(life)),
        };
        let end = end
            .map(|end| {
                let end = end.filter(|end| *end <= now + LONGEST_LIFE);
                let end = end.ok_or_else(|| wrong("it would end in more than 100 years"))?;
                match end <= now {
                    true => Err(wrong("its end lies in the past")),
                    false => Ok(end),
                }
            })
            .transpose()?;
        Ok(CustomAttribute {
            name: self.name.clone(),
            value: Some(CustomValue {
                kind: Some(self.value.clone()),
            }),
            expires_at: end.map(to_timestamp),
            comment: self.comment.clone(),
        })
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control)
}

fn check_name(name: &str) -> Result<(), RegistryError> {
    if is_custom_attribute(name) {
        return Ok(());
    }
    // A name that is sent back may be of any length.
    let shown = &name[..name.floor_char_boundary(LONGEST_TEXT)];
    let problem = format!(
        "\"{}\" is none: custom: and 1 to 50 letters, digits, dots, hyphens and underscores",
        shown.escape_debug()
    );
    Err(RegistryError::invalid("name", problem))
}

/// What is to be changed of one node's attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeChanges {
    set: Vec<WantedAttribute>,
    remove: BTreeSet<String>,
}

impl AttributeChanges {
    /// Checks changes: each attribute is named once.
    pub fn new(set: Vec<WantedAttribute>, remove: Vec<String>) -> Result<Self, RegistryError> {
        let count = set.len() + remove.len();
        if count > 2 * MOST_ATTRIBUTES {
            let problem = format!("more than {} attributes are named", 2 * MOST_ATTRIBUTES);
            return Err(RegistryError::invalid("updates", problem));
        }
        for name in &remove {
            check_name(name)?;
        }
        let changes = Self {
            set,
            remove: remove.into_iter().collect(),
        };
        let names: BTreeSet<_> = changes.names().collect();
        if names.len() < count {
            let problem = "an attribute is named twice for one node";
            return Err(RegistryError::invalid("updates", problem));
        }
        Ok(changes)
    }

    /// Returns the names of the attributes that it is about.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let set = self.set.iter().map(WantedAttribute::name);
        set.chain(self.remove.iter().map(String::as_str))
    }

    /// Returns what is to be set.
    pub fn set(&self) -> &[WantedAttribute] {
        &self.set
    }

    /// Changes a node's attributes, which stay sorted.
    pub fn apply_to(&self, node: &mut Node, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let mut attributes: BTreeMap<String, CustomAttribute> = node
            .attributes
            .drain(..)
            .map(|attribute| (attribute.name.clone(), attribute))
            .collect();
        for name in &self.remove {
            attributes.remove(name);
        }
        for wanted in &self.set {
            attributes.insert(wanted.name.clone(), wanted.attribute_from(now)?);
        }
        if attributes.len() > MOST_ATTRIBUTES {
            let node = node.name.clone();
            return Err(AttributeRefusal::TooMany { node }.into());
        }
        node.attributes = attributes.into_values().collect();
        Ok(())
    }
}

/// Takes the attributes off a node that have ended by a time.
pub fn end_due(node: &mut Node, now: DateTime<Utc>) {
    let has_ended = |attribute: &CustomAttribute| {
        let end = attribute.expires_at.and_then(from_timestamp);
        end.is_some_and(|end| end <= now)
    };
    node.attributes.retain(|attribute| !has_ended(attribute));
}

/// Returns the attributes that differ, as they were and as they are; null for one that a node did not or does not have.
pub fn changed_attributes(before: &Node, after: &Node) -> Option<(Value, Value)> {
    let by_name = |node: &'_ Node| {
        let named = node.attributes.iter();
        named
            .map(|attribute| (attribute.name.clone(), describe(attribute)))
            .collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (by_name(before), by_name(after));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let (mut was, mut is) = (Map::new(), Map::new());
    for name in names {
        let [old, new] = [&before, &after].map(|all| all.get(name).cloned().unwrap_or_default());
        if old != new {
            was.insert(name.clone(), old);
            is.insert(name.clone(), new);
        }
    }
    (!was.is_empty()).then(|| (was.into(), is.into()))
}

fn describe(attribute: &CustomAttribute) -> Value {
    let value = match attribute
        .value
        .as_ref()
        .and_then(|value| value.kind.as_ref())
    {
        Some(Kind::Text(text)) => json!(text),
        Some(Kind::Number(number)) => json!(number),
        Some(Kind::Flag(flag)) => json!(flag),
        None => Value::Null,
    };
    let end = attribute.expires_at.and_then(from_timestamp);
    json!({
        "value": value,
        "expires_at": end.map(|end| end.to_rfc3339()),
        "comment": attribute.comment,
    })
}

#[cfg(test)]
mod tests;
