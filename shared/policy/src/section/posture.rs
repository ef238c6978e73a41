//! `postures`, `defaultSrcPosture`, `attrConfig`, and `srcPosture` of rules (policy section 18).

use jsonc_parser::ast::Value;

use super::{DocumentReader, find_member};
use crate::posture::{self, Posture};

/// The most postures of a rule: each of its sources is tested against all of them.
const MOST_POSTURES: usize = 64;

impl DocumentReader<'_> {
    pub(super) fn read_postures(&mut self, value: &Value<'_>) {
        for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
            if !name.starts_with("posture:") || name.len() == "posture:".len() {
                let message = format!("posture name \"{name}\" does not begin with \"posture:\"");
                self.problems.push(self.reader.problem_at(place, message));
            }
            let mut posture = Posture::default();
            for (text, value) in self.read_strings(value) {
                match posture.add(text) {
                    Err(message) => self.refuse(value, message),
                    Ok(()) => self.warn_of_unknown(name, &posture, value),
                }
            }
            self.policy.postures.insert(name.to_owned(), posture);
        }
    }

    /// Warns of a condition on an attribute that is not known here. No device meets it, so that nobody is let in by
    /// mistake.
    fn warn_of_unknown(&mut self, name: &str, posture: &Posture, value: &Value<'_>) {
        let Some(attribute) = posture.unknown_attribute() else {
            return;
        };
        let message = format!(
            "\"{attribute}\" is never set here: this condition is not met by any device, and \"{name}\" by none"
        );
        let hint = format!(
            "rules that demand it let nobody through; postures here judge {}",
            posture::KNOWN.join(", ")
        );
        self.warn(value, message, &hint);
    }

    pub(super) fn read_default_posture(&mut self, value: &Value<'_>) {
        self.default_postures = self.read_posture_names(value);
    }

    /// Returns the postures of a rule: its own, or else the default.
    pub(super) fn read_source_postures(
        &mut self,
        members: &[(&'static str, &Value<'_>)],
    ) -> Vec<String> {
        match find_member(members, &["srcPosture"]) {
            Some(value) => self.read_posture_names(value),
            None => self.default_postures.clone(),
        }
    }

    fn read_posture_names(&mut self, value: &Value<'_>) -> Vec<String> {
        let mut names = Vec::new();
        for (text, value) in self.read_strings(value) {
            if names.len() >= MOST_POSTURES {
                self.refuse(value, format!("more than {MOST_POSTURES} postures"));
                break;
            }
            if self.policy.postures.contains_key(text) {
                names.push(text.to_owned());
            } else {
                let message = format!("posture not found: \"{text}\"");
                self.refuse_with_hint(value, message, "every posture is a key of postures");
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// Checks the types of custom attributes. Nodes can not set or broadcast them here yet, so nothing is kept.
    pub(super) fn check_attribute_config(&mut self, value: &Value<'_>) {
        const CONFIG: &[&str] = &["type", "allowSetByNode", "broadcastToPeers"];
        for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
            if !name.starts_with("custom:") || name.len() == "custom:".len() {
                let message = format!("attribute name \"{name}\" does not begin with \"custom:\"");
                self.problems.push(self.reader.problem_at(place, message));
            }
            let Value::Object(object) = value else {
                self.refuse(value, "the configuration of an attribute is an object");
                continue;
            };
            let members = self.reader.read_members(object, CONFIG, &mut self.problems);
            if let Some(value) = find_member(&members, &["type"]) {
                let text = self.reader.read_string(value, &mut self.problems);
                if text.is_some_and(|text| !["string", "bool", "number"].contains(&text)) {
                    self.refuse(value, "the type of an attribute is string, bool or number");
                }
            }
        }
    }
}
