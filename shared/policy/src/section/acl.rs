//! `acls` (policy section 6.1).

use std::sync::Arc;

use jsonc_parser::ast::{Object, Value};

use super::{DocumentReader, find_member};
use crate::{
    internet,
    policy::{AccessRule, DestinationKind, PosturedSelector, ProtocolPorts},
    port, protocol,
    selector::{self, Selector},
};

const ACL: &[&str] = &[
    "action",
    "src",
    "proto",
    "dst",
    "users",
    "ports",
    "srcPosture",
];

impl DocumentReader<'_> {
    pub(super) fn read_acls(&mut self, value: &Value<'_>) {
        for (object, place) in self.read_objects(value, "an ACL") {
            self.read_acl(object, place);
        }
    }

    fn read_acl(&mut self, object: &Object<'_>, place: &Value<'_>) {
        let members = self.reader.read_members(object, ACL, &mut self.problems);
        let action = find_member(&members, &["action"])
            .and_then(|value| self.reader.read_string(value, &mut self.problems));
        if action.map(str::trim) != Some("accept") {
            let message = format!("action={:?} is not supported", action.unwrap_or_default());
            self.refuse_with_hint(place, message, "what no rule accepts is denied");
        }
        let protocol =
            find_member(&members, &["proto"]).and_then(|value| self.read_protocol(value));
        let postures = self.read_source_postures(&members);
        let sources = find_member(&members, &["src", "users"])
            .map(|value| self.read_sources(value, &postures))
            .unwrap_or_default();
        let sources = Arc::new(sources);
        let Some(value) = find_member(&members, &["dst", "ports"]) else {
            return;
        };
        let mut rules = Vec::new();
        let mut all_autogroups = true;
        for (text, value) in self.read_strings(value) {
            let Some((selectors, service)) =
                self.read_destination_with_ports(text, value, protocol)
            else {
                continue;
            };
            // Each destination makes a rule with all the sources.
            if let Err(message) = self.count_expanded(sources.len()) {
                self.refuse(value, message);
                break;
            }
            all_autogroups &= text.trim().starts_with("autogroup:");
            let own = selectors == [Selector::Own];
            if own && !sources.iter().all(may_mean_own) {
                self.refuse(value, NOT_OWN);
            }
            rules.push(AccessRule {
                sources: Arc::clone(&sources),
                destination_kind: if own {
                    DestinationKind::Own
                } else {
                    DestinationKind::Named
                },
                covers_internet: covers_internet(&selectors),
                destinations: selectors
                    .into_iter()
                    .filter(|_| !own)
                    .map(PosturedSelector::from)
                    .collect(),
                services: vec![service],
                line: self.reader.line_of(value),
                ..AccessRule::default()
            });
        }
        // Own devices come after the other destinations, unless all are autogroups (policy section 7.2).
        if !all_autogroups {
            rules.sort_by_key(|rule| rule.destination_kind == DestinationKind::Own);
        }
        self.policy.rules.extend(rules.into_iter().map(Arc::new));
    }

    fn read_protocol(&mut self, value: &Value<'_>) -> Option<u8> {
        let text = self.reader.read_string(value, &mut self.problems)?;
        match text.trim() {
            "" => None,
            text => match protocol::parse(text) {
                Ok(number) => Some(number),
                Err(message) => {
                    let hint = "leave proto out for TCP, UDP and ICMP";
                    self.refuse_with_hint(value, message, hint);
                    None
                }
            },
        }
    }

    fn read_destination_with_ports(
        &mut self,
        text: &str,
        value: &Value<'_>,
        protocol: Option<u8>,
    ) -> Option<(Vec<Selector>, ProtocolPorts)> {
        let text = text.trim();
        let (selector, ports_text) = text.rsplit_once(':').unwrap_or(("", text));
        // `fd7a::1` reads as `fd7a:` with port 1, and is most likely an address without ports.
        let is_whole = lacks_ports(text) || selector::parse_range(text).is_some();
        let written = is_whole.then(|| missing_ports(text));
        let lacking = written
            .as_ref()
            .map(|written| format!("ports are missing: {written}"));
        let ports = match port::parse(ports_text) {
            Ok(_) if selector.is_empty() => {
                let hint = written.unwrap_or_default();
                self.refuse_with_hint(value, format!("dst=\"{text}\": ports are missing"), &hint);
                return None;
            }
            Ok(ports) => ports,
            Err(message) => {
                let hint = lacking.as_deref();
                let hint = hint.unwrap_or("a destination ends in its ports, such as :22 or :*");
                self.refuse_with_hint(value, format!("dst=\"{text}\": {message}"), hint);
                return None;
            }
        };
        if protocol.is_some_and(|number| !protocol::has_ports(number))
            && ports != [port::Ports::ALL]
        {
            self.refuse(
                value,
                format!("dst=\"{text}\": this protocol has no ports: use :*"),
            );
            return None;
        }
        Some((
            self.read_destination(selector, value, lacking.as_deref())?,
            ProtocolPorts { protocol, ports },
        ))
    }
}

/// Says whether a destination has no ports: it has no colon (`*`), only the one after its kind (`tag:web`), or only those
/// in brackets (`[fd7a::1]`). Without brackets the last part of an IPv6 address is taken for ports.
pub(crate) fn lacks_ports(text: &str) -> bool {
    const KINDS: [&str; 6] = ["autogroup", "group", "ipset", "svc", "tag", "user"];
    match text.split_once(':') {
        None => true,
        Some((kind, rest)) if !rest.contains(':') => KINDS.contains(&kind),
        Some(_) => text.starts_with('[') && selector::parse_range(text).is_some(),
    }
}

/// Returns what to write in place of a destination that lacks ports.
pub(crate) fn missing_ports(text: &str) -> String {
    let is_ipv6 = !text.starts_with('[')
        && selector::parse_range(text).is_some_and(|range| range.low().is_ipv6());
    let selector = if is_ipv6 {
        format!("[{text}]")
    } else {
        text.to_owned()
    };
    format!("write \"{selector}:*\" for all of them, or such as \"{selector}:22\"")
}

/// The message for `autogroup:self` with sources that are no users.
pub(super) const NOT_OWN: &str =
    "autogroup:self can only be used with users, groups, or supported autogroups";

/// Says whether a source may stand beside `autogroup:self` in an ACL: it must name users, or be `*`.
pub(super) fn may_mean_own(source: &PosturedSelector) -> bool {
    !matches!(
        source.selector,
        Selector::Tag(_)
            | Selector::Tagged
            | Selector::Range(_)
            | Selector::Everyone
            | Selector::Shared
    )
}

/// Says whether destinations cover the whole internet.
pub(super) fn covers_internet(selectors: &[Selector]) -> bool {
    let ranges: Vec<_> = selectors
        .iter()
        .filter_map(|selector| match selector {
            Selector::Range(range) => Some(*range),
            _ => None,
        })
        .collect();
    selectors
        .iter()
        .any(|selector| matches!(selector, Selector::Any | Selector::Internet))
        || internet::is_covered_by(&ranges)
}
