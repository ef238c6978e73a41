//! `postures`, `defaultSrcPosture`, `attrConfig`, and `srcPosture` of rules (policy section 18).

use bowline_ids::{CUSTOM_ATTRIBUTE, is_custom_attribute};
use jsonc_parser::ast::Value;

use super::{DocumentReader, find_member};
use crate::{
    attribute::{AttributeKind, ConfiguredAttribute, KNOWN},
    posture::Posture,
};

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
                    Ok(()) => {
                        self.warn_of_unknown(name, &posture, value);
                        self.warn_of_other_type(name, &posture, value);
                    }
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
            "rules that demand it let nobody through; postures here judge {}, and custom:NAME of at most 50 letters, digits, \
             dots, hyphens and underscores",
            KNOWN.join(", ")
        );
        self.warn(value, message, &hint);
    }

    /// Warns of a condition that compares an attribute with values of another type than it has.
    fn warn_of_other_type(&mut self, name: &str, posture: &Posture, value: &Value<'_>) {
        let Some((attribute, compared)) = posture.last_comparison() else {
            return;
        };
        let configured = self.policy.configured_attributes.get(attribute);
        let Some(kind) = configured.and_then(|found| found.kind) else {
            return;
        };
        if kind != compared {
            let message = format!(
                "\"{attribute}\" is a {} by attrConfig, and is compared with a {}: this condition is not met by any device, and \
                 \"{name}\" by none",
                kind.name(),
                compared.name()
            );
            let hint = "texts stand in single quotes, numbers, true and false are bare";
            self.warn(value, message, hint);
        }
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

    /// Reads the types of custom attributes, and which of them nodes may set for themselves.
    pub(super) fn read_attribute_config(&mut self, value: &Value<'_>) {
        const CONFIG: &[&str] = &["type", "allowSetByNode", "broadcastToPeers"];
        for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
            if !name.starts_with(CUSTOM_ATTRIBUTE) || name.len() == CUSTOM_ATTRIBUTE.len() {
                let message = format!("attribute name \"{name}\" does not begin with \"custom:\"");
                self.problems.push(self.reader.problem_at(place, message));
            } else if !is_custom_attribute(name) {
                let message = format!("\"{name}\" can not be set: it is no name of an attribute");
                let warning = self.reader.problem_at(place, message).with_hint(
                    "after custom: stand at most 50 letters, digits, dots, hyphens and underscores",
                );
                self.warnings.push(warning);
            }
            let Value::Object(object) = value else {
                self.refuse(value, "the configuration of an attribute is an object");
                continue;
            };
            let members = self.reader.read_members(object, CONFIG, &mut self.problems);
            let mut configured = ConfiguredAttribute::default();
            if let Some(value) = find_member(&members, &["type"]) {
                let text = self.reader.read_string(value, &mut self.problems);
                configured.kind = text.and_then(AttributeKind::with_name);
                if text.is_some() && configured.kind.is_none() {
                    self.refuse(value, "the type of an attribute is string, bool or number");
                }
            }
            match find_member(&members, &["allowSetByNode"]) {
                Some(Value::BooleanLit(allows)) => configured.is_set_by_node = allows.value,
                Some(other) => {
                    let message = "allowSetByNode is true or false";
                    self.refuse_from_now_on(other, message, "nodes may set it if it is true");
                }
                None => {}
            }
            if let Some(value @ Value::Array(peers)) = find_member(&members, &["broadcastToPeers"])
                && !peers.elements.is_empty()
            {
                let message =
                    "broadcastToPeers has no effect here: clients are not told of attributes";
                self.warn(value, message, "leave it out");
            }
            let name = name.to_owned();
            self.policy.configured_attributes.insert(name, configured);
        }
    }
}
