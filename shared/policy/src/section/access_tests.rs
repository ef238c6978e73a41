//! `tests` (policy section 20.1).

use jsonc_parser::ast::{Object, Value};

use super::{DocumentReader, find_member};

/// One access test: what a source must and must not reach.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AccessTest {
    /// One selector, looked up when the test runs: an unknown one fails the test.
    pub(crate) source: String,
    /// The posture attributes that the source's devices are taken to have; `None` for their own.
    pub(crate) attributes: Option<crate::attribute::Attributes>,
    /// TCP or UDP when absent.
    pub(crate) protocol: Option<String>,
    /// `destination:port` that must be allowed.
    pub(crate) accept: Vec<String>,
    /// `destination:port` that must not be.
    pub(crate) deny: Vec<String>,
    /// Whether destinations were left out because they can not be tested here (`svc:`).
    pub(crate) leaves_out: bool,
    /// The line of the document it is on.
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

impl DocumentReader<'_> {
    pub(super) fn read_access_tests(&mut self, value: &Value<'_>) {
        for (object, place) in self.read_objects(value, "a test") {
            let test = self.read_access_test(object, place);
            self.policy.tests.push(test);
        }
    }

    fn read_access_test(&mut self, object: &Object<'_>, place: &Value<'_>) -> AccessTest {
        let members = self.reader.read_members(object, TEST, &mut self.problems);
        let mut test = AccessTest {
            line: self.reader.line_of(place),
            ..AccessTest::default()
        };
        let text = find_member(&members, &["src", "user"])
            .and_then(|value| self.reader.read_string(value, &mut self.problems));
        test.source = text.unwrap_or_default().trim().to_owned();
        test.attributes = find_member(&members, &["srcPostureAttrs"])
            .map(|value| self.read_posture_attributes(value));
        if let Some(value) = find_member(&members, &["proto"]) {
            let text = self.reader.read_string(value, &mut self.problems);
            test.protocol = text
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty());
        }
        if let Some(value) = find_member(&members, &["accept", "allow"]) {
            test.accept = self.read_test_destinations(value, &mut test.leaves_out);
        }
        if let Some(value) = find_member(&members, &["deny"]) {
            test.deny = self.read_test_destinations(value, &mut test.leaves_out);
        }
        test
    }

    /// Reads the destinations of a test, without services: they have no addresses here.
    fn read_test_destinations(&mut self, value: &Value<'_>, leaves_out: &mut bool) -> Vec<String> {
        let mut tested = Vec::new();
        for (text, value) in self.read_strings(value) {
            let text = text.trim();
            if text.starts_with("svc:") {
                *leaves_out = true;
                let message = format!("there are no services here yet: \"{text}\" is not tested");
                self.warn(value, message, "");
            } else {
                tested.push(text.to_owned());
            }
        }
        tested
    }

    /// Reads the posture attributes that a device is taken to have.
    pub(super) fn read_posture_attributes(
        &mut self,
        value: &Value<'_>,
    ) -> crate::attribute::Attributes {
        use crate::attribute::AttributeValue;
        let mut attributes = crate::attribute::Attributes::new();
        for (name, value, _) in self.reader.read_entries(value, &mut self.problems) {
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
