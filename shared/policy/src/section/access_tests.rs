//! `tests` (policy reference section 20.1).

use jsonc_parser::ast::{Object, Value};

use super::{Reading, member};

/// One access test: what a source must and must not reach.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AccessTest {
    /// One selector, looked up when the test runs: an unknown one fails the test.
    pub(crate) source: String,
    /// What the source's devices are taken to be like.
    pub(crate) attributes: Option<crate::posture::Attributes>,
    /// TCP or UDP when absent.
    pub(crate) protocol: Option<String>,
    /// `destination:port` that must be allowed.
    pub(crate) accept: Vec<String>,
    /// `destination:port` that must not be.
    pub(crate) deny: Vec<String>,
    /// Where it is, for the verdict.
    pub(crate) line: u32,
}

const TEST: &[&str] = &[
    "src",
    "srcPostureAttrs",
    "proto",
    "accept",
    "deny",
    "user",
    "allow",
];

impl Reading<'_> {
    pub(super) fn access_tests(&mut self, value: &Value<'_>) {
        for (object, place) in self.objects(value, "a test") {
            let test = self.access_test(object, place);
            self.policy.tests.push(test);
        }
    }

    fn access_test(&mut self, object: &Object<'_>, place: &Value<'_>) -> AccessTest {
        let members = self.reader.members(object, TEST, &mut self.problems);
        let mut test = AccessTest {
            line: self.reader.line(place),
            ..AccessTest::default()
        };
        let text = member(&members, &["src", "user"])
            .and_then(|value| self.reader.string(value, &mut self.problems));
        test.source = text.unwrap_or_default().trim().to_owned();
        test.attributes =
            member(&members, &["srcPostureAttrs"]).map(|value| self.attributes(value));
        if let Some(value) = member(&members, &["proto"]) {
            let text = self.reader.string(value, &mut self.problems);
            test.protocol = text
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty());
        }
        let list = |reading: &mut Self, names: &[&str]| -> Vec<String> {
            let value = member(&members, names);
            let texts = value.map_or_else(Vec::new, |value| reading.strings(value));
            texts
                .into_iter()
                .map(|(text, _)| text.trim().to_owned())
                .collect()
        };
        test.accept = list(self, &["accept", "allow"]);
        test.deny = list(self, &["deny"]);
        test
    }

    /// Reads what a device is taken to be like.
    pub(super) fn attributes(&mut self, value: &Value<'_>) -> crate::posture::Attributes {
        use crate::posture::AttributeValue;
        let mut attributes = crate::posture::Attributes::new();
        for (name, value, _) in self.reader.entries(value, &mut self.problems) {
            let known = match value {
                Value::StringLit(text) => Some(AttributeValue::Text(text.value.to_string())),
                Value::BooleanLit(literal) => Some(AttributeValue::Bool(literal.value)),
                Value::NumberLit(number) => number.value.parse().ok().map(AttributeValue::Number),
                _ => None,
            };
            match known {
                Some(known) => {
                    attributes.insert(name.to_owned(), known);
                }
                None => self.refuse(value, "an attribute is a text, a number, true or false"),
            }
        }
        attributes
    }
}
