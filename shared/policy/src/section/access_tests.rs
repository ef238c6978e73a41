//! `tests` (policy section 20.1).

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
    /// Whether destinations were left out that can not be tested here.
    pub(crate) leaves_out: bool,
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
        if let Some(value) = member(&members, &["accept", "allow"]) {
            test.accept = self.tested(value, &mut test.leaves_out);
        }
        if let Some(value) = member(&members, &["deny"]) {
            test.deny = self.tested(value, &mut test.leaves_out);
        }
        test
    }

    /// Reads the destinations of a test, without services: nothing is known of those.
    fn tested(&mut self, value: &Value<'_>, leaves_out: &mut bool) -> Vec<String> {
        let mut tested = Vec::new();
        for (text, value) in self.strings(value) {
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
