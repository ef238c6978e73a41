//! `nodeAttrs` (policy section 17).

use std::collections::BTreeSet;

use ipnet::IpNet;
use jsonc_parser::ast::{Object, Value};

use super::{DocumentReader, find_member, lookup::missing_hint};
use crate::{
    document,
    policy::{Capability, NodeAttribute},
    selector::{self, Selector, WrittenSelector},
};

const ATTRIBUTE: &[&str] = &["target", "attr", "app", "ipPool"];

/// Addresses that clients use for themselves.
const RESERVED: [&str; 3] = ["100.100.0.0/24", "100.100.100.0/24", "100.115.92.0/23"];

impl DocumentReader<'_> {
    pub(super) fn read_node_attributes(&mut self, value: &Value<'_>) {
        for (object, _) in self.read_objects(value, "an entry of nodeAttrs") {
            self.read_node_attribute(object);
        }
    }

    fn read_node_attribute(&mut self, object: &Object<'_>) {
        let members = self
            .reader
            .read_members(object, ATTRIBUTE, &mut self.problems);
        let mut attribute = NodeAttribute::default();
        if let Some(value) = find_member(&members, &["target"]) {
            attribute.targets = self.read_targets(value);
        }
        if let Some(value) = find_member(&members, &["attr"]) {
            for (name, value) in self.read_strings(value) {
                if name.is_empty() {
                    self.refuse(value, "the name of an attribute is empty");
                }
                attribute.capabilities.push(Capability {
                    name: name.to_owned(),
                    values: None,
                });
            }
        }
        if let Some(value) = find_member(&members, &["app"]) {
            for (name, value, _) in self.reader.read_entries(value, &mut self.problems) {
                let values = self.reader.read_elements(value, &mut self.problems);
                attribute.capabilities.push(Capability {
                    name: name.to_owned(),
                    values: Some(values.iter().map(document::to_json).collect()),
                });
            }
        }
        if let Some(value) = find_member(&members, &["ipPool"]) {
            attribute.pools = self.read_pools(value);
        }
        self.policy.attributes.push(attribute);
    }

    fn read_targets(&mut self, value: &Value<'_>) -> BTreeSet<Selector> {
        let mut targets = BTreeSet::new();
        for (text, value) in self.read_strings(value) {
            let named = text.trim();
            let is_host = matches!(selector::parse(named), WrittenSelector::Host(_));
            match self.resolve(named, value) {
                Ok(selectors) => {
                    let allowed = |selector: &Selector| {
                        selector.is_identity()
                            || matches!(selector, Selector::Any | Selector::Range(_))
                    };
                    match selectors.iter().find(|selector| !allowed(selector)) {
                        Some(wrong) => {
                            let message = format!("\"{wrong}\" not valid as a target of nodeAttrs");
                            self.refuse(value, message);
                        }
                        None => targets.extend(selectors),
                    }
                }
                Err(_) if is_host => self.refuse_with_hint(
                    value,
                    format!("\"{named}\": invalid address"),
                    "a target is *, a user, group, tag, autogroup, host or address",
                ),
                Err(message) => self.refuse_with_hint(value, message, missing_hint(named)),
            }
        }
        targets
    }

    fn read_pools(&mut self, value: &Value<'_>) -> Vec<IpNet> {
        let mut pools = Vec::new();
        for (text, value) in self.read_strings(value) {
            match parse_pool(text.trim()) {
                Ok(prefix) => pools.push(prefix),
                Err(message) => self.refuse(value, message),
            }
        }
        pools
    }
}

/// Reads a pool: an IPv4 prefix of the tailnet's addresses.
fn parse_pool(text: &str) -> Result<IpNet, String> {
    let said = |what: &str| format!("IPPool({text}): {what}");
    let prefix: IpNet = text.parse().map_err(|_| said("this is not a prefix"))?;
    let prefix = prefix.trunc();
    let overlaps = |reserved: &&str| {
        let reserved = reserved.parse::<IpNet>();
        reserved.is_ok_and(|reserved| reserved.contains(&prefix) || prefix.contains(&reserved))
    };
    let inside = "100.64.0.0/10"
        .parse::<IpNet>()
        .is_ok_and(|block| block.contains(&prefix));
    if !inside {
        return Err(said("network outside of 100.64.0.0/10"));
    }
    if RESERVED.iter().any(overlaps) {
        return Err(said("network within reserved range"));
    }
    Ok(prefix)
}
