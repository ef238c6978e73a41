//! `sshTests` (policy section 20.2).

use jsonc_parser::ast::{Object, Value};

use super::{DocumentReader, find_member};
use crate::selector::{self, Selector, WrittenSelector};

/// One SSH test: which accounts of a node a source must and must not get.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SshTest {
    /// One selector, looked up when the test runs.
    pub(crate) source: String,
    /// The posture attributes that the source's devices are taken to have; `None` for their own.
    pub(crate) attributes: Option<crate::attribute::Attributes>,
    /// The nodes, one selector each.
    pub(crate) destinations: Vec<String>,
    /// Accounts that must be let in.
    pub(crate) accept: Vec<String>,
    /// Accounts that must be let in after a check.
    pub(crate) check: Vec<String>,
    /// Accounts that must not be let in.
    pub(crate) deny: Vec<String>,
    /// The line of the document it is on.
    pub(crate) line: u32,
}

const TEST: &[&str] = &["src", "dst", "accept", "check", "deny", "srcPostureAttrs"];

impl DocumentReader<'_> {
    pub(super) fn read_ssh_tests(&mut self, value: &Value<'_>) {
        for (object, place) in self.read_objects(value, "an SSH test") {
            let test = self.read_ssh_test(object, place);
            self.policy.ssh_tests.push(test);
        }
    }

    fn read_ssh_test(&mut self, object: &Object<'_>, place: &Value<'_>) -> SshTest {
        let members = self.reader.read_members(object, TEST, &mut self.problems);
        let mut test = SshTest {
            line: self.reader.line_of(place),
            ..SshTest::default()
        };
        let text = find_member(&members, &["src"])
            .and_then(|value| self.reader.read_string(value, &mut self.problems));
        test.source = text.unwrap_or_default().trim().to_owned();
        test.attributes = find_member(&members, &["srcPostureAttrs"])
            .map(|value| self.read_posture_attributes(value));
        if let Some(value) = find_member(&members, &["dst"]) {
            for (text, value) in self.read_strings(value) {
                self.check_ssh_test_destination(text.trim(), value);
                test.destinations.push(text.trim().to_owned());
            }
        }
        let list = |reading: &mut Self, name: &str| -> Vec<String> {
            let value = find_member(&members, &[name]);
            let texts = value.map_or_else(Vec::new, |value| reading.read_strings(value));
            texts
                .into_iter()
                .map(|(text, _)| text.trim().to_owned())
                .collect()
        };
        test.accept = list(self, "accept");
        test.check = list(self, "check");
        test.deny = list(self, "deny");
        test
    }

    /// Refuses destinations that can never be a node; the others are judged when the test runs.
    fn check_ssh_test_destination(&mut self, text: &str, value: &Value<'_>) {
        let disallowed = match selector::parse(text) {
            WrittenSelector::Selector(Selector::Range(range)) => {
                !range.is_single() || text.contains('/')
            }
            WrittenSelector::Selector(Selector::Tag(tag)) => {
                if !self.policy.tag_owners.contains_key(&tag) {
                    let message = format!("SSH tests dst contains unknown tag \"{text}\"");
                    self.refuse_with_hint(value, message, "a destination here has no port");
                }
                false
            }
            WrittenSelector::Selector(
                Selector::Any
                | Selector::Everyone
                | Selector::Internet
                | Selector::Shared
                | Selector::Service(_),
            )
            | WrittenSelector::IpSet(_)
            | WrittenSelector::UnknownAutogroup
            | WrittenSelector::UnknownKind => true,
            WrittenSelector::Selector(_) | WrittenSelector::Host(_) => false,
        };
        if disallowed {
            self.refuse(
                value,
                format!("SSH tests dst contains disallowed element \"{text}\""),
            );
        }
    }
}
