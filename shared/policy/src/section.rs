//! Reads the sections of a document, names first: rules refer to them.

pub(crate) mod access_tests;
mod acl;
mod approver;
mod attribute;
mod duration;
mod grant;
mod ip_set;
mod name;
mod posture;
mod ssh;
pub(crate) mod ssh_tests;
mod switch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ip_set::IpRange;
use jsonc_parser::ast::{Object, Value};

use crate::{
    document::{Problems, Reader},
    policy::{Party, Policy, Rule},
    problem::Problem,
    selector::{self, Selector, Written},
};

/// The sections, as they are spelled here; documents may use any case (policy reference section 2).
const SECTIONS: &[&str] = &[
    "acls",
    "grants",
    "groups",
    "hosts",
    "ipsets",
    "tagOwners",
    "autoApprovers",
    "ssh",
    "nodeAttrs",
    "postures",
    "defaultSrcPosture",
    "attrConfig",
    "tests",
    "sshTests",
    "derpMap",
    "disableIPv4",
    "OneCGNATRoute",
    "randomizeClientPort",
];

/// The most sources of rules, counted again for each destination, and addresses of IP sets, for each use.
const MOST_MEANT: usize = 2 << 20;

/// A document being read: the tables so far, and what is wrong so far.
pub(crate) struct Reading<'t> {
    reader: Reader<'t>,
    problems: Problems,
    /// The tailnet's own domains; empty when they are not known.
    domains: &'t BTreeSet<String>,
    ip_sets: BTreeMap<String, Vec<IpRange>>,
    /// What rules without postures of their own demand.
    default_postures: Vec<String>,
    /// How `autogroup:member` was spelled first.
    member_spelling: Option<String>,
    /// How many sources and addresses were meant so far: few bytes can mean very many.
    meant: usize,
    policy: Policy,
}

impl<'t> Reading<'t> {
    pub(crate) fn new(reader: Reader<'t>, domains: &'t BTreeSet<String>) -> Self {
        Self {
            reader,
            problems: Problems::default(),
            domains,
            ip_sets: BTreeMap::new(),
            default_postures: Vec::new(),
            member_spelling: None,
            meant: 0,
            policy: Policy::default(),
        }
    }

    /// Reads the whole document.
    pub(crate) fn document(mut self, object: &Object<'_>) -> Result<Policy, Vec<Problem>> {
        let members = self.reader.members(object, SECTIONS, &mut self.problems);
        let section = |name| member(&members, &[name]);
        type Read<'r, 'v> = fn(&mut Reading<'r>, &Value<'v>);
        let in_order: [(&str, Read<'_, '_>); 16] = [
            ("hosts", Self::hosts),
            ("groups", Self::groups),
            ("tagOwners", Self::tag_owners),
            ("ipsets", Self::ip_sets),
            ("attrConfig", Self::attribute_config),
            ("postures", Self::postures),
            ("defaultSrcPosture", Self::default_posture),
            ("grants", Self::grants),
            ("acls", Self::acls),
            ("ssh", Self::ssh),
            ("nodeAttrs", Self::node_attributes),
            ("autoApprovers", Self::approvers),
            ("tests", Self::access_tests),
            ("sshTests", Self::ssh_tests),
            ("derpMap", Self::derp_map),
            ("randomizeClientPort", Self::randomize_client_port),
        ];
        for (name, read) in in_order {
            if let Some(value) = section(name) {
                read(&mut self, value);
            }
        }
        if let Some(value) = section("disableIPv4") {
            self.policy.switches.disable_ipv4 = self.reader.boolean(value, &mut self.problems);
        }
        if let Some(value) = section("OneCGNATRoute") {
            self.one_cgnat_route(value);
        }
        if section("acls").is_none() && section("grants").is_none() {
            self.policy.rules = vec![Arc::new(Rule::allow_all())];
        }
        if !self.policy.tests.is_empty() {
            self.policy.ip_sets = self.ip_sets;
        }
        match self.problems.into_vec() {
            problems if problems.is_empty() => Ok(self.policy),
            problems => Err(problems),
        }
    }

    /// Notes a mistake at a value.
    fn refuse(&mut self, value: &Value<'_>, message: impl Into<String>) {
        self.problems.push(self.reader.problem(value, message));
    }

    /// Notes a mistake at a value, and what to do.
    fn refuse_with_hint(&mut self, value: &Value<'_>, message: impl Into<String>, hint: &str) {
        let problem = self.reader.problem(value, message).hint(hint);
        self.problems.push(problem);
    }

    /// Returns the objects of an array.
    fn objects<'v>(
        &mut self,
        value: &'v Value<'v>,
        what: &str,
    ) -> Vec<(&'v Object<'v>, &'v Value<'v>)> {
        let mut objects = Vec::new();
        for element in self.reader.elements(value, &mut self.problems) {
            match element {
                Value::Object(object) => objects.push((object, element)),
                other => self.refuse(other, format!("{what} is an object")),
            }
        }
        objects
    }

    /// Returns an array of strings.
    fn strings<'v>(&mut self, value: &'v Value<'v>) -> Vec<(&'v str, &'v Value<'v>)> {
        self.reader.strings(value, &mut self.problems)
    }

    /// Reads a selector and looks up what it names: a host or an IP set is its ranges.
    fn resolve(&mut self, text: &str) -> Result<Vec<Selector>, String> {
        let text = text.trim();
        match selector::parse(text) {
            Written::Selector(selector) => self.known(text, selector).map(|known| vec![known]),
            Written::IpSet(name) => {
                let found = self.ip_sets.get(name).map(Vec::len);
                self.mean(found.ok_or_else(|| format!("ipset not found: \"{name}\""))?)?;
                let ranges = self.ip_sets[name].iter().copied();
                Ok(ranges.map(Selector::Range).collect())
            }
            Written::Host(name) => match self.policy.hosts.get(name) {
                Some(range) => Ok(vec![Selector::Range(*range)]),
                None => Err(format!("host not found: \"{name}\"")),
            },
            Written::UnknownAutogroup => Err(format!("autogroup not found: \"{text}\"")),
        }
    }

    /// Counts what is meant, so that a document's size bounds its cost.
    fn mean(&mut self, count: usize) -> Result<(), String> {
        self.meant = self.meant.saturating_add(count);
        if self.meant > MOST_MEANT {
            return Err(format!(
                "the document means more than {MOST_MEANT} sources and addresses: name them by groups and tags"
            ));
        }
        Ok(())
    }

    /// Checks that what a selector names is there.
    fn known(&mut self, text: &str, selector: Selector) -> Result<Selector, String> {
        match &selector {
            Selector::Group(name) if !self.policy.groups.contains_key(name) => {
                return Err(format!("group not found: \"{name}\""));
            }
            Selector::Tag(name) if !self.policy.tag_owners.contains_key(name) => {
                return Err(format!("tag not found: \"{text}\""));
            }
            Selector::Domain(domain) => self.own_domain(domain)?,
            Selector::Member => {
                let first = self.member_spelling.get_or_insert_with(|| text.to_owned());
                if first != text {
                    return Err(format!(
                        "\"{text}\" and \"{first}\" are the same: use one of them"
                    ));
                }
            }
            _ => {}
        }
        Ok(selector)
    }

    /// Checks that a domain is the tailnet's own.
    fn own_domain(&self, domain: &str) -> Result<(), String> {
        if self.domains.is_empty() && domain != "*" || self.domains.contains(domain) {
            return Ok(());
        }
        Err(format!(
            "{domain} is not associated with this Tailnet and cannot be used in user:*@<domain> expressions"
        ))
    }

    /// Reads the sources of a rule.
    fn sources(&mut self, value: &Value<'_>, postures: &[String]) -> BTreeSet<Party> {
        let mut sources = BTreeSet::new();
        for (text, value) in self.strings(value) {
            match self.resolve(text) {
                Ok(selectors) => {
                    for selector in selectors {
                        if let Selector::Own | Selector::Internet | Selector::Service(_) = selector
                        {
                            let message =
                                format!("\"{selector}\" not valid on the src side of a rule");
                            self.refuse(value, message);
                        } else {
                            let postures = postures.to_vec();
                            sources.insert(Party { selector, postures });
                        }
                    }
                }
                Err(message) if text.trim().starts_with("user:") => self.refuse(value, message),
                Err(message) => {
                    let hint = missing_hint(text);
                    self.refuse_with_hint(value, format!("src={message}"), hint);
                }
            }
        }
        sources
    }

    /// Reads one destination; `None` when it is wrong.
    fn destination(&mut self, text: &str, value: &Value<'_>) -> Option<Vec<Selector>> {
        let selectors = match self.resolve(text) {
            Ok(selectors) => selectors,
            Err(message) if text.trim().starts_with("user:") => {
                self.refuse(value, message);
                return None;
            }
            Err(message) => {
                let message = format!("dst=\"{}\": {message}", text.trim());
                self.refuse_with_hint(value, message, missing_hint(text));
                return None;
            }
        };
        match &*selectors {
            [Selector::Everyone] => {
                self.refuse(value, "cannot use autogroup:danger-all as a dst");
                None
            }
            [Selector::Shared] => {
                self.refuse(
                    value,
                    "\"autogroup:shared\" not valid on the dst side of a rule",
                );
                None
            }
            _ => Some(selectors),
        }
    }

    /// Reads a list of selectors that must name users or tags; `what` says who they are meant to be.
    fn identities(&mut self, value: &Value<'_>, what: &str) -> Vec<Selector> {
        let mut found = Vec::new();
        for (text, value) in self.strings(value) {
            match self.resolve(text) {
                Ok(selectors) => {
                    if let Some(wrong) = selectors.iter().find(|selector| !selector.is_identity()) {
                        let message = format!("\"{wrong}\" can not be {what}");
                        self.refuse_with_hint(
                            value,
                            message,
                            "name users, groups, tags or autogroups",
                        );
                    } else {
                        found.extend(selectors);
                    }
                }
                Err(message) => self.refuse_with_hint(value, message, missing_hint(text)),
            }
        }
        found
    }
}

/// Returns the value of a member by any of its names.
fn member<'v>(members: &[(&'static str, &'v Value<'v>)], names: &[&str]) -> Option<&'v Value<'v>> {
    let found = members.iter().find(|(known, _)| names.contains(known));
    found.map(|(_, value)| *value)
}

fn missing_hint(text: &str) -> &'static str {
    match text.trim().split_once(':').map(|(kind, _)| kind) {
        Some("tag") => "every tag is a key of tagOwners",
        Some("group") => "every group is a key of groups",
        Some("ipset") => "every IP set is a key of ipsets",
        Some("autogroup") => "see the list of autogroups in the policy language",
        _ => "a host is a key of hosts; a user's login has an @",
    }
}
