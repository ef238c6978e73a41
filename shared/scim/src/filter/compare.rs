//! How values compare.

use chrono::{DateTime, FixedOffset};
use serde_json::{Number, Value};

use super::refuse;
use crate::{
    error::ScimError,
    schema::{ScimAttribute, ValueKind},
};

/// How a value has to compare with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompareOperator {
    /// `eq`
    Equal,
    /// `ne`
    NotEqual,
    /// `co`
    Contains,
    /// `sw`
    StartsWith,
    /// `ew`
    EndsWith,
    /// `gt`
    Greater,
    /// `ge`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `le`
    LessOrEqual,
}

impl CompareOperator {
    /// Reads an operator, in whatever case it is written.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let known = [
            ("eq", Self::Equal),
            ("ne", Self::NotEqual),
            ("co", Self::Contains),
            ("sw", Self::StartsWith),
            ("ew", Self::EndsWith),
            ("gt", Self::Greater),
            ("ge", Self::GreaterOrEqual),
            ("lt", Self::Less),
            ("le", Self::LessOrEqual),
        ];
        let found = known
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, operator)| *operator)
    }

    const fn is_order(self) -> bool {
        matches!(
            self,
            Self::Greater | Self::GreaterOrEqual | Self::Less | Self::LessOrEqual
        )
    }
}

/// What values are compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// A text, as it was written.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A time.
    Time(DateTime<FixedOffset>),
    /// No value.
    Nothing,
}

impl Operand {
    /// Reads the JSON value that a filter compares an attribute with.
    pub(super) fn read(
        attribute: &ScimAttribute,
        operator: CompareOperator,
        value: Value,
    ) -> Result<Self, ScimError> {
        let name = attribute.name;
        if value.is_null() {
            return match operator {
                CompareOperator::Equal | CompareOperator::NotEqual => Ok(Self::Nothing),
                _ => Err(refuse("null is compared by eq and ne only")),
            };
        }
        match attribute.kind {
            ValueKind::Complex(_) => Err(refuse(format!(
                "{name} has parts: compare one of them, as in {name}.{}",
                attribute.parts().first().map_or("value", |part| part.name)
            ))),
            ValueKind::Boolean => {
                if !matches!(operator, CompareOperator::Equal | CompareOperator::NotEqual) {
                    return Err(refuse(format!(
                        "{name} is true or false: compare it by eq or ne"
                    )));
                }
                let read = match &value {
                    Value::Bool(value) => Some(*value),
                    Value::String(text) => read_boolean(text),
                    _ => None,
                };
                let read = read.ok_or_else(|| refuse(format!("{name} is true or false")))?;
                Ok(Self::Boolean(read))
            }
            ValueKind::DateTime if operator.is_order() || is_equality(operator) => {
                let read = value.as_str().map(DateTime::parse_from_rfc3339);
                match read {
                    Some(Ok(time)) => Ok(Self::Time(time)),
                    _ => Err(refuse(format!(
                        "{name} is a time, such as \"2026-11-27T08:00:00Z\""
                    ))),
                }
            }
            ValueKind::Text | ValueKind::Reference(_) | ValueKind::DateTime => match value {
                Value::String(text) => Ok(Self::Text(text)),
                Value::Number(number) => Ok(Self::Text(Number::to_string(&number))),
                _ => Err(refuse(format!(
                    "{name} is a text: write it in quotation marks"
                ))),
            },
        }
    }

    /// Returns it as a value of a resource.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Boolean(value) => Value::Bool(*value),
            Self::Time(time) => Value::String(time.to_rfc3339()),
            Self::Nothing => Value::Null,
        }
    }

    /// Says whether one of the values compares so; none of them is equal where they are to differ.
    pub(super) fn compares(
        &self,
        operator: CompareOperator,
        attribute: &ScimAttribute,
        values: &[&Value],
    ) -> bool {
        if operator == CompareOperator::NotEqual {
            return !self.compares(CompareOperator::Equal, attribute, values);
        }
        if *self == Self::Nothing {
            return values.iter().all(|value| value.is_null());
        }
        values
            .iter()
            .any(|value| self.compares_with(operator, attribute, value))
    }

    fn compares_with(
        &self,
        operator: CompareOperator,
        attribute: &ScimAttribute,
        value: &Value,
    ) -> bool {
        match (self, value) {
            (Self::Boolean(wanted), Value::Bool(value)) => wanted == value,
            (Self::Time(wanted), Value::String(text)) => DateTime::parse_from_rfc3339(text)
                .is_ok_and(|time| is_ordered(operator, &time, wanted)),
            (Self::Text(wanted), Value::String(text)) if attribute.is_case_exact => {
                compare_texts(operator, text, wanted)
            }
            (Self::Text(wanted), Value::String(text)) => {
                compare_texts(operator, &text.to_lowercase(), &wanted.to_lowercase())
            }
            _ => false,
        }
    }
}

const fn is_equality(operator: CompareOperator) -> bool {
    matches!(operator, CompareOperator::Equal | CompareOperator::NotEqual)
}

fn compare_texts(operator: CompareOperator, text: &str, wanted: &str) -> bool {
    match operator {
        CompareOperator::Contains => text.contains(wanted),
        CompareOperator::StartsWith => text.starts_with(wanted),
        CompareOperator::EndsWith => text.ends_with(wanted),
        order => is_ordered(order, text, wanted),
    }
}

fn is_ordered<T: Ord + ?Sized>(operator: CompareOperator, value: &T, wanted: &T) -> bool {
    match operator {
        CompareOperator::Equal => value == wanted,
        CompareOperator::Greater => value > wanted,
        CompareOperator::GreaterOrEqual => value >= wanted,
        CompareOperator::Less => value < wanted,
        CompareOperator::LessOrEqual => value <= wanted,
        // Texts only, or asked for otherwise.
        CompareOperator::NotEqual
        | CompareOperator::Contains
        | CompareOperator::StartsWith
        | CompareOperator::EndsWith => false,
    }
}

/// Reads true or false as clients write it: also as "True" and "False".
pub(crate) fn read_boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
