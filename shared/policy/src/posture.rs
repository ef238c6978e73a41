//! Device postures: conditions on devices (policy section 18).

use std::cmp::Ordering;

use bowline_ids::is_custom_attribute;

use crate::attribute::{AttributeKind, AttributeValue, Attributes, KNOWN};

/// A named posture: all assertions must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Posture(Vec<Assertion>);

/// `ATTRIBUTE OPERATOR VALUE`.
#[derive(Clone, Debug, PartialEq)]
struct Assertion {
    attribute: String,
    /// Whether devices here can have the attribute.
    is_known: bool,
    test: AssertionTest,
}

#[derive(Clone, Debug, PartialEq)]
enum AssertionTest {
    Is(Comparison, AttributeValue),
    In(Vec<AttributeValue>),
    NotIn(Vec<AttributeValue>),
    Set,
    NotSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Two-letter operators first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl Posture {
    /// Adds an assertion.
    ///
    /// # Errors
    ///
    /// What can not be read.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        self.0.push(parse(text)?);
        Ok(())
    }

    /// Returns the attribute of the assertion that was added last, if no device here can have it.
    pub(crate) fn unknown_attribute(&self) -> Option<&str> {
        let last = self.0.last().filter(|last| !last.is_known)?;
        Some(&last.attribute)
    }

    /// Returns the attribute of the assertion that was added last, with a type of the values that it is compared with.
    pub(crate) fn last_comparison(&self) -> Option<(&str, AttributeKind)> {
        let last = self.0.last()?;
        let value = match &last.test {
            AssertionTest::Is(_, value) => Some(value),
            AssertionTest::In(values) => values.first(),
            // A value of another type is none of those.
            AssertionTest::NotIn(_) | AssertionTest::Set | AssertionTest::NotSet => None,
        };
        Some((&last.attribute, value?.kind()))
    }

    /// Says whether a device meets it.
    #[must_use]
    pub fn is_met_by(&self, attributes: &Attributes) -> bool {
        self.0
            .iter()
            .all(|assertion| assertion.is_met_by(attributes))
    }
}

impl Assertion {
    fn is_met_by(&self, attributes: &Attributes) -> bool {
        let value = attributes.get(&self.attribute);
        match (&self.test, value) {
            (AssertionTest::Set, value) => value.is_some(),
            // Whether an attribute is set can only be said of those that are known here.
            (AssertionTest::NotSet, value) => value.is_none() && self.is_known,
            // Without a value no comparison holds, not even `!=`.
            (_, None) => false,
            (AssertionTest::In(listed), Some(value)) => listed.contains(value),
            (AssertionTest::NotIn(listed), Some(value)) => !listed.contains(value),
            (AssertionTest::Is(comparison, wanted), Some(value)) => {
                compare_values(value, wanted).is_some_and(|found| comparison.is_satisfied_by(found))
            }
        }
    }
}

impl Comparison {
    fn is_satisfied_by(self, found: Ordering) -> bool {
        match self {
            Self::Equal => found.is_eq(),
            Self::Unequal => found.is_ne(),
            Self::Less => found.is_lt(),
            Self::LessOrEqual => found.is_le(),
            Self::Greater => found.is_gt(),
            Self::GreaterOrEqual => found.is_ge(),
        }
    }
}

fn compare_values(value: &AttributeValue, wanted: &AttributeValue) -> Option<Ordering> {
    match (value, wanted) {
        (AttributeValue::Text(value), AttributeValue::Text(wanted)) => {
            Some(compare_versions(value, wanted))
        }
        (AttributeValue::Number(value), AttributeValue::Number(wanted)) => {
            value.partial_cmp(wanted)
        }
        (AttributeValue::Bool(value), AttributeValue::Bool(wanted)) => Some(value.cmp(wanted)),
        _ => None,
    }
}

/// Compares versions field by field: runs of digits as numbers, the text between them by its letters.
///
/// Example: `1.9` is less than `1.10`, because 9 is less than 10.
fn compare_versions(mut left: &str, mut right: &str) -> Ordering {
    loop {
        let (left_text, left_rest) = split_while(left, |c| !c.is_ascii_digit());
        let (right_text, right_rest) = split_while(right, |c| !c.is_ascii_digit());
        let (left_digits, left_after) = split_while(left_rest, |c| c.is_ascii_digit());
        let (right_digits, right_after) = split_while(right_rest, |c| c.is_ascii_digit());
        let (left_number, right_number) = (
            left_digits.trim_start_matches('0'),
            right_digits.trim_start_matches('0'),
        );
        let fields = left_text
            .cmp(right_text)
            .then(left_number.len().cmp(&right_number.len()))
            .then(left_number.cmp(right_number));
        let ended = left_after.is_empty() && right_after.is_empty();
        if fields.is_ne() || ended {
            return fields;
        }
        (left, right) = (left_after, right_after);
    }
}

fn split_while(text: &str, inside: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn parse(text: &str) -> Result<Assertion, String> {
    let text = text.trim();
    let wrong = |what: &str| format!("posture assertion \"{text}\": {what}");
    let end = text.find(|c: char| c.is_whitespace() || "=!<>".contains(c));
    let (attribute, rest) = text.split_at(end.unwrap_or(text.len()));
    if !attribute
        .split_once(':')
        .is_some_and(|(space, name)| !space.is_empty() && !name.is_empty())
    {
        return Err(wrong(
            "an attribute has the form namespace:name, such as node:os",
        ));
    }
    let rest = rest.trim();
    let words = rest
        .split_whitespace()
        .map(str::to_uppercase)
        .collect::<Vec<_>>();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let test = match *words {
        // An attribute alone means that it is true.
        [] => AssertionTest::Is(Comparison::Equal, AttributeValue::Bool(true)),
        ["IS", "SET"] => AssertionTest::Set,
        ["NOT", "SET"] | ["IS", "NOT", "SET"] => AssertionTest::NotSet,
        ["NOT", "IN", ..] => {
            let list = rest.get(3..).and_then(|rest| rest.trim_start().get(2..));
            AssertionTest::NotIn(parse_list(list.unwrap_or_default()).map_err(|what| wrong(&what))?)
        }
        [word, ..] if word == "IN" || word.starts_with("IN[") => AssertionTest::In(
            parse_list(rest.get(2..).unwrap_or_default()).map_err(|what| wrong(&what))?,
        ),
        _ => {
            let found = COMPARISONS.iter().find_map(|(sign, comparison)| {
                rest.strip_prefix(sign).map(|value| (*comparison, value))
            });
            let (comparison, value) = found.ok_or_else(|| {
                wrong("the operator is one of ==, !=, <, <=, >, >=, IN, NOT IN, IS SET, NOT SET")
            })?;
            AssertionTest::Is(
                comparison,
                parse_literal(value).map_err(|what| wrong(&what))?,
            )
        }
    };
    Ok(Assertion {
        attribute: attribute.to_owned(),
        is_known: KNOWN.contains(&attribute) || is_custom_attribute(attribute),
        test,
    })
}

fn parse_list(text: &str) -> Result<Vec<AttributeValue>, String> {
    let inner = text
        .trim()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or("a list has the form ['a', 'b']")?;
    inner.split(',').map(parse_literal).collect()
}

fn parse_literal(text: &str) -> Result<AttributeValue, String> {
    let text = text.trim();
    if let Some(inner) = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        return Ok(AttributeValue::Text(inner.to_owned()));
    }
    match text {
        "true" => Ok(AttributeValue::Bool(true)),
        "false" => Ok(AttributeValue::Bool(false)),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()).map(AttributeValue::Number).ok_or_else(|| {
            format!("{text} is no value: texts stand in single quotes, numbers, true and false are bare")
        }),
    }
}

#[cfg(test)]
mod tests;
