//! Reads the sections of a document, names first: rules refer to them.

pub(crate) mod access_tests;
pub(crate) mod acl;
mod approver;
mod attribute;
mod duration;
mod grant;
mod ip_set;
mod name;
mod named;
mod posture;
mod relay;
mod ssh;
pub(crate) mod ssh_tests;
mod switch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ip_set::IpRange;
use jsonc_parser::ast::{Object, Value};
use named::missing_hint;

use crate::{
    DocumentContext,
    document::{Problems, Reader},
    policy::{Party, Policy, Rule},
    problem::Problem,
    selector::{DOMAIN, Selector},
};

/// The sections, as they are spelled here; documents may use any case (policy section 2).
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
    /// What does not do what it says, so far.
    warnings: Problems,
    context: &'t DocumentContext,
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
    pub(crate) fn new(reader: Reader<'t>, context: &'t DocumentContext) -> Self {
        Self {
            reader,
            problems: Problems::default(),
            warnings: Problems::default(),
            context,
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
            problems if problems.is_empty() => {
                self.policy.warnings = self.warnings.into_vec();
                Ok(self.policy)
            }
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

    /// Notes a mistake that older releases let pass: a document that is stored stays in force with it.
    fn refuse_from_now_on(&mut self, value: &Value<'_>, message: impl Into<String>, hint: &str) {
        if self.context.is_stored {
            self.warn(value, message, hint);
        } else {
            self.refuse_with_hint(value, message, hint);
        }
    }

    /// Notes what does not do what it says, and what to do.
    fn warn(&mut self, value: &Value<'_>, message: impl Into<String>, hint: &str) {
        let warning = self.reader.problem(value, message).hint(hint);
        self.warnings.push(warning);
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

    /// Reads the sources of a rule.
    fn sources(&mut self, value: &Value<'_>, postures: &[String]) -> BTreeSet<Party> {
        let mut sources = BTreeSet::new();
        for (text, value) in self.strings(value) {
            match self.resolve(text, value) {
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
                Err(message) if text.trim().starts_with(DOMAIN) => self.refuse(value, message),
                Err(message) => {
                    let hint = missing_hint(text);
                    self.refuse_with_hint(value, format!("src={message}"), hint);
                }
            }
        }
        sources
    }

    /// Reads one destination; `None` when it is wrong.
    ///
    /// `hint` is what to do about one that names nothing, in place of the usual.
    fn destination(
        &mut self,
        text: &str,
        value: &Value<'_>,
        hint: Option<&str>,
    ) -> Option<Vec<Selector>> {
        let selectors = match self.resolve(text, value) {
            Ok(selectors) => selectors,
            Err(message) if text.trim().starts_with(DOMAIN) => {
                self.refuse(value, message);
                return None;
            }
            Err(message) => {
                let message = format!("dst=\"{}\": {message}", text.trim());
                let hint = hint.unwrap_or_else(|| missing_hint(text));
                self.refuse_with_hint(value, message, hint);
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
            match self.resolve(text, value) {
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
