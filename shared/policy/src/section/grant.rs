//! `grants` (policy sections 6.2, 10, 11).

use std::{collections::BTreeSet, sync::Arc};

use jsonc_parser::ast::{Object, Value};

use super::{
    DocumentReader,
    acl::{NOT_OWN, covers_internet, may_mean_own},
    find_member,
};
use crate::{
    document,
    policy::{AccessRule, Capability, DestinationKind, PosturedSelector, ProtocolPorts},
    port, protocol,
    selector::{Selector, tag_name},
};

const GRANT: &[&str] = &["src", "dst", "ip", "app", "srcPosture", "via"];

/// The capabilities of the reserved domain that policies may grant.
const BUILT_IN: [&str; 8] = [
    "tailscale.com/cap/drive",
    "tailscale.com/cap/relay",
    "tailscale.com/cap/webui",
    "tailscale.com/cap/kubernetes",
    "tailscale.com/cap/tsidp",
    "tailscale.com/cap/secrets",
    "tailscale.com/cap/golink",
    "tailscale.com/cap/tailsql",
];

/// For some capabilities, the one that is granted in the opposite direction (policy section 11.3).
const COMPANIONS: [(&str, &str); 2] = [
    ("tailscale.com/cap/drive", "tailscale.com/cap/drive-sharer"),
    ("tailscale.com/cap/relay", "tailscale.com/cap/relay-target"),
];

impl DocumentReader<'_> {
    pub(super) fn read_grants(&mut self, value: &Value<'_>) {
        for (object, place) in self.read_objects(value, "a grant") {
            self.read_grant(object, place);
        }
    }

    fn read_grant(&mut self, object: &Object<'_>, place: &Value<'_>) {
        let members = self.reader.read_members(object, GRANT, &mut self.problems);
        let postures = self.read_source_postures(&members);
        let sources = find_member(&members, &["src"])
            .map(|value| self.read_sources(value, &postures))
            .unwrap_or_default();
        let services =
            find_member(&members, &["ip"]).map_or_else(Vec::new, |value| self.read_services(value));
        let capabilities = find_member(&members, &["app"])
            .map_or_else(Vec::new, |value| self.read_capabilities(value));
        let has_ip = find_member(&members, &["ip"]).is_some_and(is_filled);
        let has_app = find_member(&members, &["app"]).is_some_and(is_filled);
        if !has_ip && !has_app {
            self.refuse(place, "ip and app can not both be empty");
        }
        let via = find_member(&members, &["via"])
            .map_or_else(BTreeSet::new, |value| self.read_via(value));
        let mut destinations = Vec::new();
        let mut own = false;
        if let Some(value) = find_member(&members, &["dst"]) {
            for (text, value) in self.read_strings(value) {
                let Some(selectors) = self.read_grant_destination(text, value, has_app) else {
                    continue;
                };
                if selectors != [Selector::Own] {
                    destinations.extend(selectors);
                    continue;
                }
                own = true;
                let any = |source: &PosturedSelector| source.selector == Selector::Any;
                if !sources
                    .iter()
                    .all(|source| may_mean_own(source) && !any(source))
                {
                    self.refuse(value, NOT_OWN);
                }
            }
        }
        let rule = AccessRule {
            sources: Arc::new(sources),
            covers_internet: covers_internet(&destinations),
            destinations: destinations
                .into_iter()
                .map(PosturedSelector::from)
                .collect(),
            services,
            capabilities,
            via,
            line: self.reader.line_of(place),
            ..AccessRule::default()
        };
        // Without any source the grant is no rule. A group without members is a source all the same.
        if rule.sources.is_empty() {
            return;
        }
        if !rule.destinations.is_empty() {
            self.add_with_companions(rule.clone());
        }
        // A way through chosen routers never ends at a device (policy section 10.1).
        if own && rule.via.is_empty() {
            self.add_with_companions(AccessRule {
                destination_kind: DestinationKind::Own,
                destinations: Vec::new(),
                covers_internet: false,
                ..rule
            });
        }
    }

    /// Adds a rule and, for some capabilities, rules in the opposite direction.
    fn add_with_companions(&mut self, rule: AccessRule) {
        let granted = COMPANIONS.iter().filter(|(name, _)| {
            rule.via.is_empty()
                && rule
                    .capabilities
                    .iter()
                    .any(|capability| capability.name == *name)
        });
        let companions: Vec<_> = granted
            .map(|(_, companion)| AccessRule {
                capabilities: vec![Capability {
                    name: (*companion).to_owned(),
                    values: None,
                }],
                services: Vec::new(),
                covers_internet: false,
                ..reverse_rule(&rule)
            })
            .collect();
        let rules = [rule].into_iter().chain(companions);
        self.policy.rules.extend(rules.map(Arc::new));
    }

    fn read_grant_destination(
        &mut self,
        text: &str,
        value: &Value<'_>,
        has_app: bool,
    ) -> Option<Vec<Selector>> {
        let selectors = self.read_destination(text, value, ports_hint(text))?;
        if selectors.contains(&Selector::Internet) && has_app {
            self.refuse(value, "cannot use app grants with autogroup:internet");
            return None;
        }
        if has_app && matches!(&*selectors, [Selector::Role(_)]) {
            self.refuse(
                value,
                format!("cannot use app grants with {}", selectors[0]),
            );
            return None;
        }
        if let [Selector::Range(range)] = &*selectors
            && range
                .prefix()
                .is_some_and(|prefix| prefix.prefix_len() == 0)
        {
            let message = format!(
                "dst \"{}\": to allow all IP addresses, use \"*\" or \"autogroup:internet\"",
                text.trim()
            );
            self.refuse(value, message);
            return None;
        }
        Some(selectors)
    }

    fn read_services(&mut self, value: &Value<'_>) -> Vec<ProtocolPorts> {
        let mut services = Vec::new();
        for (text, value) in self.read_strings(value) {
            match parse_service(text.trim()) {
                Ok(service) => services.push(service),
                Err(message) => {
                    let hint = "write \"*\", ports such as \"80,443\", or a protocol with ports such as \"tcp:22\", \"*:22\" or \"icmp:*\"";
                    self.refuse_with_hint(value, message, hint);
                }
            }
        }
        services
    }

    /// Reads capabilities with their values, sorted by name.
    pub(super) fn read_capabilities(&mut self, value: &Value<'_>) -> Vec<Capability> {
        let mut capabilities = Vec::new();
        for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
            if let Some(message) = capability_problem(name) {
                self.problems.push(self.reader.problem_at(place, message));
                continue;
            }
            let values = self.reader.read_elements(value, &mut self.problems);
            capabilities.push(Capability {
                name: name.to_owned(),
                values: Some(values.iter().map(document::to_json).collect()),
            });
        }
        capabilities.sort_by(|a, b| a.name.cmp(&b.name));
        capabilities
    }

    fn read_via(&mut self, value: &Value<'_>) -> BTreeSet<String> {
        let mut tags = BTreeSet::new();
        for (text, value) in self.read_strings(value) {
            let tag = text.trim();
            if !tag.starts_with("tag:") {
                self.refuse(value, "via can only be a tag");
            } else if !self.policy.tag_owners.contains_key(&tag_name(tag)) {
                let message = format!("tag \"{tag}\" not found");
                self.refuse_with_hint(value, message, "every tag is a key of tagOwners");
            } else {
                tags.insert(tag_name(tag));
            }
        }
        tags
    }
}

/// Returns the rule from the destinations to the sources.
fn reverse_rule(rule: &AccessRule) -> AccessRule {
    let flipped = AccessRule {
        line: rule.line,
        ..AccessRule::default()
    };
    match rule.destination_kind {
        DestinationKind::Named => AccessRule {
            sources: Arc::new(rule.destinations.iter().cloned().collect()),
            destinations: rule.sources.iter().cloned().collect(),
            ..flipped
        },
        _ => AccessRule {
            sources: Arc::clone(&rule.sources),
            destination_kind: DestinationKind::OwnReversed,
            ..flipped
        },
    }
}

/// Returns advice for a destination that names nothing because it is written with ports, as in an ACL.
fn ports_hint(text: &str) -> Option<&'static str> {
    let (_, ports) = text.trim().rsplit_once(':')?;
    let has_ports = port::parse(ports).is_ok();
    has_ports.then_some("the ports of a grant stand under ip, not in dst")
}

fn is_filled(value: &Value<'_>) -> bool {
    match value {
        Value::Array(array) => !array.elements.is_empty(),
        Value::Object(object) => !object.properties.is_empty(),
        _ => true,
    }
}

/// Reads an element of `ip` (policy section 5.1).
fn parse_service(text: &str) -> Result<ProtocolPorts, String> {
    match text.split_once(':') {
        // `*:443` means the same as `443`: the protocols of a rule that names none.
        Some((any, ports)) if any.trim() == "*" => Ok(ProtocolPorts {
            protocol: None,
            ports: port::parse(ports)?,
        }),
        None => Ok(ProtocolPorts {
            protocol: None,
            ports: port::parse(text)?,
        }),
        Some((name, ports)) => {
            let number = protocol::parse(name.trim())?;
            let ports = port::parse(ports)?;
            if !protocol::has_ports(number) && ports != [port::Ports::ALL] {
                return Err(format!(
                    "\"{text}\": this protocol has no ports: use {name}:*"
                ));
            }
            Ok(ProtocolPorts {
                protocol: Some(number),
                ports,
            })
        }
    }
}

/// Returns what is wrong with a capability's name (policy section 11.1).
fn capability_problem(name: &str) -> Option<&'static str> {
    let well_formed = name.split_once('/').is_some_and(|(domain, path)| {
        domain.contains('.') && !domain.contains(':') && !path.is_empty()
    });
    if name.contains("://") || !well_formed {
        return Some("capability name must have the form {domain}/{path}");
    }
    let domain = name.split('/').next().unwrap_or_default();
    let within = |reserved: &str| {
        domain == reserved
            || domain
                .strip_suffix(reserved)
                .is_some_and(|sub| sub.ends_with('.'))
    };
    if within("tailscale.com") && !BUILT_IN.contains(&name) {
        return Some("capability name must not be in the tailscale.com domain");
    }
    within("tailscale.io").then_some("capability name must not be in the tailscale.io domain")
}
