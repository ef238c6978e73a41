//! `nodeAttrs` (policy section 17).

use std::collections::BTreeSet;

use ipnet::IpNet;
use jsonc_parser::ast::{Object, Value};

use super::{Reading, member, named::missing_hint};
use crate::{
    document,
    policy::{Attribute, Capability},
    selector::{self, Selector, Written},
};

const ATTRIBUTE: &[&str] = &["target", "attr", "app", "ipPool"];

/// Addresses that clients and services use for themselves.
const RESERVED: [&str; 3] = ["100.100.0.0/24", "100.100.100.0/24", "100.115.92.0/23"];

impl Reading<'_> {
    pub(super) fn node_attributes(&mut self, value: &Value<'_>) {
        for (object, _) in self.objects(value, "an entry of nodeAttrs") {
            self.node_attribute(object);
        }
    }

    fn node_attribute(&mut self, object: &Object<'_>) {
        let members = self.reader.members(object, ATTRIBUTE, &mut self.problems);
        let mut attribute = Attribute::default();
        if let Some(value) = member(&members, &["target"]) {
            attribute.targets = self.targets(value);
        }
        if let Some(value) = member(&members, &["attr"]) {
            for (name, value) in self.strings(value) {
                if name.is_empty() {
                    self.refuse(value, "the name of an attribute is empty");
                }
                attribute.capabilities.push(Capability {
                    name: name.to_owned(),
                    values: None,
                });
            }
        }
        if let Some(value) = member(&members, &["app"]) {
            for (name, value, _) in self.reader.entries(value, &mut self.problems) {
                let values = self.reader.elements(value, &mut self.problems);
                attribute.capabilities.push(Capability {
                    name: name.to_owned(),
                    values: Some(values.iter().map(document::json).collect()),
                });
            }
        }
        if let Some(value) = member(&members, &["ipPool"]) {
            attribute.pools = self.pools(value);
        }
        self.policy.attributes.push(attribute);
    }

    fn targets(&mut self, value: &Value<'_>) -> BTreeSet<Selector> {
        let mut targets = BTreeSet::new();
        for (text, value) in self.strings(value) {
            let named = text.trim();
            let is_host = matches!(selector::parse(named), Written::Host(_));
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

    fn pools(&mut self, value: &Value<'_>) -> Vec<IpNet> {
        let mut pools = Vec::new();
        for (text, value) in self.strings(value) {
            match pool(text.trim()) {
                Ok(prefix) => pools.push(prefix),
                Err(message) => self.refuse(value, message),
            }
        }
        pools
    }
}

/// Reads a pool: an IPv4 prefix of the tailnet's addresses.
fn pool(text: &str) -> Result<IpNet, String> {
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
