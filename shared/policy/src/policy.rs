//! A valid policy: what the document says, with every name resolved.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use jsonc_parser::ast::{Object, Value};

use crate::{
    document::{self, Reader},
    port::{self, Ports},
    problem::Problem,
    protocol,
    selector::{self, Selector},
};

/// The sections this release reads.
const SECTIONS: &[&str] = &["acls", "groups", "tagOwners", "hosts"];
/// The other sections of the language: refused by name, so that nobody believes they are in force.
const LATER: &[&str] = &[
    "grants",
    "ipsets",
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
const ACL: &[&str] = &["action", "src", "proto", "dst", "users", "ports"];

/// One access rule: sources may reach one destination. An ACL with several destinations is several rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who.
    pub sources: BTreeSet<Selector>,
    /// Where.
    pub destination: Selector,
    /// Which ports there.
    pub ports: Vec<Ports>,
    /// IP protocols; empty for the default set.
    pub protocols: Vec<u8>,
}

/// A valid policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub(crate) rules: Vec<Rule>,
    /// Members of each group, by login name.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    /// Who may use each tag.
    pub(crate) tag_owners: BTreeMap<String, Vec<Selector>>,
}

impl Policy {
    /// Returns the policy that is in force while there is no document: everybody reaches everything.
    #[must_use]
    pub fn allow_all() -> Self {
        let rule = Rule {
            sources: BTreeSet::from([Selector::Any]),
            destination: Selector::Any,
            ports: vec![Ports::ALL],
            protocols: Vec::new(),
        };
        Self {
            rules: vec![rule],
            ..Self::default()
        }
    }

    /// Reads a document. One without content means [`Policy::allow_all`].
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the document's sections.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let read = document::parse(text, |reader, object| Reading::new(reader).document(object));
        match read {
            Ok(None) => Ok(Self::allow_all()),
            Ok(Some(result)) => result,
            Err(problem) => Err(vec![problem]),
        }
    }
}

/// A document being read: the tables so far, and what is wrong so far.
struct Reading<'t> {
    reader: Reader<'t>,
    problems: Vec<Problem>,
    hosts: BTreeMap<String, IpNet>,
    policy: Policy,
}

impl<'t> Reading<'t> {
    fn new(reader: Reader<'t>) -> Self {
        Self {
            reader,
            problems: Vec::new(),
            hosts: BTreeMap::new(),
            policy: Policy::default(),
        }
    }

    fn document(mut self, object: &Object<'_>) -> Result<Policy, Vec<Problem>> {
        const ALL: &[&str] = &[
            "acls",
            "groups",
            "tagOwners",
            "hosts",
            "grants",
            "ipsets",
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
        debug_assert!(SECTIONS.iter().chain(LATER).all(|name| ALL.contains(name)));
        let members = self.reader.members(object, ALL, &mut self.problems);
        let section = |name| {
            members
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        };
        for (name, value) in &members {
            if LATER.contains(name) {
                let message = format!("the section \"{name}\" is not supported by this release");
                self.problems.push(self.reader.problem(value, message));
            }
        }
        // Names first: rules refer to them.
        if let Some(value) = section("hosts") {
            self.hosts(value);
        }
        if let Some(value) = section("groups") {
            self.groups(value);
        }
        if let Some(value) = section("tagOwners") {
            self.tag_owners(value);
        }
        match section("acls") {
            Some(value) => self.acls(value),
            None => self.policy.rules = Policy::allow_all().rules,
        }
        if self.problems.is_empty() {
            Ok(self.policy)
        } else {
            Err(self.problems)
        }
    }

    fn hosts(&mut self, value: &Value<'_>) {
        for (name, value, place) in self.reader.entries(value, &mut self.problems) {
            let Some(text) = self.reader.string(value, &mut self.problems) else {
                continue;
            };
            if name.contains(['@', ':', '*']) {
                let message = format!("host name \"{name}\" may not contain @, : or *");
                self.problems.push(self.reader.problem_at(place, message));
            } else if let Some(prefix) = selector::parse_prefix(text) {
                self.hosts.insert(name.to_owned(), prefix);
            } else {
                let message =
                    format!("host \"{name}\": \"{text}\" is neither an address nor a prefix");
                self.problems.push(self.reader.problem(value, message));
            }
        }
    }

    fn groups(&mut self, value: &Value<'_>) {
        for (name, value, place) in self.reader.entries(value, &mut self.problems) {
            if !name.starts_with("group:") || name.len() == "group:".len() {
                let message = format!("group name \"{name}\" does not begin with \"group:\"");
                self.problems.push(self.reader.problem_at(place, message));
            }
            let mut members = BTreeSet::new();
            for (member, value) in self.reader.strings(value, &mut self.problems) {
                if member.contains('@') && !member.starts_with("user:") {
                    members.insert(member.trim().to_owned());
                } else {
                    let message = format!("member \"{member}\" of \"{name}\" is not a login name");
                    let hint = "groups hold users such as amira@example.com, not other groups";
                    self.problems
                        .push(self.reader.problem(value, message).hint(hint));
                }
            }
            self.policy.groups.insert(name.to_owned(), members);
        }
    }

    fn tag_owners(&mut self, value: &Value<'_>) {
        let entries = self.reader.entries(value, &mut self.problems);
        for (name, _, place) in &entries {
            if is_tag(name) {
                self.policy
                    .tag_owners
                    .insert((*name).to_owned(), Vec::new());
            } else {
                let message =
                    format!("\"{name}\" is no tag: tag: and a name that begins with a letter");
                self.problems.push(self.reader.problem_at(*place, message));
            }
        }
        for (name, value, _) in entries {
            let mut owners = Vec::new();
            for (text, value) in self.reader.strings(value, &mut self.problems) {
                match self.selector(text, value) {
                    Some(
                        Selector::Any | Selector::Own | Selector::Internet | Selector::Prefix(_),
                    ) => {
                        let message = format!("\"{text}\" can not own a tag");
                        self.problems.push(self.reader.problem(value, message));
                    }
                    Some(owner) => owners.push(owner),
                    None => {}
                }
            }
            if let Some(known) = self.policy.tag_owners.get_mut(name) {
                *known = owners;
            }
        }
    }

    /// Reads a selector and checks that what it names is there.
    fn selector(&mut self, text: &str, value: &Value<'_>) -> Option<Selector> {
        let read = selector::parse(text, &self.hosts).and_then(|selector| match &selector {
            Selector::Group(name) if !self.policy.groups.contains_key(name) => {
                Err(format!("group not found: \"{name}\""))
            }
            Selector::Tag(name) if !self.policy.tag_owners.contains_key(name) => {
                Err(format!("tag not found: \"{name}\""))
            }
            _ => Ok(selector),
        });
        match read {
            Ok(selector) => Some(selector),
            Err(message) => {
                let problem = self.reader.problem(value, message);
                self.problems.push(if text.starts_with("tag:") {
                    problem.hint("every tag is a key of tagOwners")
                } else {
                    problem
                });
                None
            }
        }
    }

    fn acls(&mut self, value: &Value<'_>) {
        for element in self.reader.elements(value, &mut self.problems) {
            match element {
                Value::Object(object) => self.acl(object, element),
                other => self
                    .problems
                    .push(self.reader.problem(other, "an ACL is an object")),
            }
        }
    }

    fn acl(&mut self, object: &Object<'_>, place: &Value<'_>) {
        let members = self.reader.members(object, ACL, &mut self.problems);
        let member = |names: [&str; 2]| {
            members
                .iter()
                .find(|(known, _)| names.contains(known))
                .map(|(_, value)| *value)
        };
        let action = member(["action", "action"])
            .and_then(|value| self.reader.string(value, &mut self.problems));
        if action.map(str::trim) != Some("accept") {
            let message = format!("action={:?} is not supported", action.unwrap_or_default());
            let hint = "what no rule accepts is denied";
            self.problems
                .push(self.reader.problem(place, message).hint(hint));
        }
        let protocols =
            member(["proto", "proto"]).map_or_else(Vec::new, |value| self.protocols(value));
        let sources =
            member(["src", "users"]).map_or_else(BTreeSet::new, |value| self.sources(value));
        let Some(value) = member(["dst", "ports"]) else {
            return;
        };
        let mut rules = Vec::new();
        for (text, value) in self.reader.strings(value, &mut self.problems) {
            let Some((destination, ports)) = self.destination(text, value, &protocols) else {
                continue;
            };
            if destination == Selector::Own && !sources.iter().all(may_mean_own) {
                let message =
                    "autogroup:self can only be used with users, groups, or supported autogroups";
                self.problems.push(self.reader.problem(value, message));
            }
            let (sources, protocols) = (sources.clone(), protocols.clone());
            rules.push(Rule {
                sources,
                destination,
                ports,
                protocols,
            });
        }
        order_own_last(&mut rules);
        self.policy.rules.extend(rules);
    }

    fn protocols(&mut self, value: &Value<'_>) -> Vec<u8> {
        let Some(text) = self.reader.string(value, &mut self.problems) else {
            return Vec::new();
        };
        match text.trim() {
            "" => Vec::new(),
            text => match protocol::parse(text) {
                Ok(number) => vec![number],
                Err(message) => {
                    self.problems.push(self.reader.problem(value, message));
                    Vec::new()
                }
            },
        }
    }

    fn sources(&mut self, value: &Value<'_>) -> BTreeSet<Selector> {
        let mut sources = BTreeSet::new();
        for (text, value) in self.reader.strings(value, &mut self.problems) {
            match self.selector(text, value) {
                Some(Selector::Own | Selector::Internet) => {
                    let message = format!("\"{text}\" not valid on the src side of a rule");
                    self.problems.push(self.reader.problem(value, message));
                }
                Some(selector) => {
                    sources.insert(selector);
                }
                None => {}
            }
        }
        sources
    }

    fn destination(
        &mut self,
        text: &str,
        value: &Value<'_>,
        protocols: &[u8],
    ) -> Option<(Selector, Vec<Ports>)> {
        let text = text.trim();
        let (selector, ports_text) = text.rsplit_once(':').unwrap_or(("", text));
        let ports = match port::parse(ports_text) {
            Ok(ports) => ports,
            Err(message) => {
                let problem = self
                    .reader
                    .problem(value, format!("dst=\"{text}\": {message}"));
                self.problems
                    .push(problem.hint("a destination ends in its ports, such as :22 or :*"));
                return None;
            }
        };
        if protocols.iter().any(|number| !protocol::has_ports(*number)) && ports != [Ports::ALL] {
            let message = format!("dst=\"{text}\": this protocol has no ports: use :*");
            self.problems.push(self.reader.problem(value, message));
            return None;
        }
        Some((self.selector(selector, value)?, ports))
    }
}

/// Says whether a source can go with `autogroup:self`: it must name users.
fn may_mean_own(source: &Selector) -> bool {
    !matches!(
        source,
        Selector::Tag(_) | Selector::Tagged | Selector::Prefix(_)
    )
}

/// Puts `autogroup:self` after the other destinations, unless all are autogroups (policy reference section 7.2).
fn order_own_last(rules: &mut [Rule]) {
    let is_autogroup = |rule: &Rule| rule.destination.to_string().starts_with("autogroup:");
    if !rules.iter().all(is_autogroup) {
        rules.sort_by_key(|rule| rule.destination == Selector::Own);
    }
}

fn is_tag(name: &str) -> bool {
    name.strip_prefix("tag:").is_some_and(|name| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

#[cfg(test)]
mod tests;
