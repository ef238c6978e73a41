//! `sshTests` (policy section 20.2).

use jsonc_parser::ast::{Object, Value};

use super::{Reading, member};
use crate::selector::{self, Selector, Written};

/// One SSH test: as whom a source must and must not get into a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SshTest {
    /// One selector, looked up when the test runs.
    pub(crate) source: String,
    /// What the source's devices are taken to be like.
    pub(crate) attributes: Option<crate::posture::Attributes>,
    /// Where.
    pub(crate) destinations: Vec<String>,
    /// Accounts that must be let in.
    pub(crate) accept: Vec<String>,
    /// Accounts that must be let in after a check.
    pub(crate) check: Vec<String>,
    /// Accounts that must not be let in.
    pub(crate) deny: Vec<String>,
    /// Where it is, for the verdict.
    pub(crate) line: u32,
}

const TEST: &[&str] = &["src", "dst", "accept", "check", "deny", "srcPostureAttrs"];

impl Reading<'_> {
    pub(super) fn ssh_tests(&mut self, value: &Value<'_>) {
        for (object, place) in self.objects(value, "an SSH test") {
            let test = self.ssh_test(object, place);
            self.policy.ssh_tests.push(test);
        }
    }

    fn ssh_test(&mut self, object: &Object<'_>, place: &Value<'_>) -> SshTest {
        let members = self.reader.members(object, TEST, &mut self.problems);
        let mut test = SshTest {
            line: self.reader.line(place),
            ..SshTest::default()
        };
        let text = member(&members, &["src"])
            .and_then(|value| self.reader.string(value, &mut self.problems));
        test.source = text.unwrap_or_default().trim().to_owned();
        test.attributes =
            member(&members, &["srcPostureAttrs"]).map(|value| self.attributes(value));
        if let Some(value) = member(&members, &["dst"]) {
            for (text, value) in self.strings(value) {
                self.ssh_test_destination(text.trim(), value);
                test.destinations.push(text.trim().to_owned());
            }
        }
        let list = |reading: &mut Self, name: &str| -> Vec<String> {
            let value = member(&members, &[name]);
            let texts = value.map_or_else(Vec::new, |value| reading.strings(value));
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

    /// Refuses destinations that no connection can have; the rest is judged when the test runs.
    fn ssh_test_destination(&mut self, text: &str, value: &Value<'_>) {
        let disallowed = match selector::parse(text) {
            Written::Selector(Selector::Range(range)) => !range.is_single() || text.contains('/'),
            Written::Selector(Selector::Tag(tag)) => {
                if !self.policy.tag_owners.contains_key(&tag) {
                    let message = format!("SSH tests dst contains unknown tag \"{text}\"");
                    self.refuse_with_hint(value, message, "a destination here has no port");
                }
                false
            }
            Written::Selector(
                Selector::Any
                | Selector::Everyone
                | Selector::Internet
                | Selector::Shared
                | Selector::Service(_),
            )
            | Written::IpSet(_)
            | Written::UnknownAutogroup
            | Written::UnknownKind => true,
            Written::Selector(_) | Written::Host(_) => false,
        };
        if disallowed {
            self.refuse(
                value,
                format!("SSH tests dst contains disallowed element \"{text}\""),
            );
        }
    }
}
