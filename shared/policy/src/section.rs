//! Reads the sections of a document. Names (hosts, groups, tags, IP sets, postures) come first, because rules refer to
//! them.

pub(crate) mod access_tests;
pub(crate) mod acl;
mod auto_approvers;
mod derp_map;
mod duration;
mod grant;
mod ip_set;
mod lookup;
mod names;
mod node_attributes;
mod posture;
mod ssh;
pub(crate) mod ssh_tests;
mod switches;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ip_set::IpRange;
use jsonc_parser::ast::{Object, Value};
use lookup::missing_hint;

use crate::{
    DocumentContext,
    document::{Problems, SyntaxReader},
    policy::{AccessRule, Policy, PosturedSelector},
    problem::Problem,
    selector::{DOMAIN, Selector},
};

/// The names of the sections. Documents may write them in any case (policy section 2).
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

/// The most sources and addresses that a document may expand to: the sources of a rule count again for each of its
/// destinations, and the addresses of an IP set for each use. Few bytes can mean very many.
const MOST_EXPANDED: usize = 2 << 20;

/// Reads a document: holds what has been read so far, and what is wrong with it.
pub(crate) struct DocumentReader<'t> {
    reader: SyntaxReader<'t>,
    problems: Problems,
    /// What is right but does not do what it says.
    warnings: Problems,
    context: &'t DocumentContext,
    ip_sets: BTreeMap<String, Vec<IpRange>>,
    /// The postures of rules that name none.
    default_postures: Vec<String>,
    /// The spelling of `autogroup:member` that the document used first.
    member_spelling: Option<String>,
    /// How many sources and addresses the document has expanded to so far: see [`MOST_EXPANDED`].
    expanded: usize,
    policy: Policy,
}

impl<'t> DocumentReader<'t> {
    pub(crate) fn new(reader: SyntaxReader<'t>, context: &'t DocumentContext) -> Self {
        Self {
            reader,
            problems: Problems::default(),
            warnings: Problems::default(),
            context,
            ip_sets: BTreeMap::new(),
            default_postures: Vec::new(),
            member_spelling: None,
            expanded: 0,
            policy: Policy::default(),
        }
    }

    /// Reads the whole document.
    pub(crate) fn read_document(mut self, object: &Object<'_>) -> Result<Policy, Vec<Problem>> {
        let members = self
            .reader
            .read_members(object, SECTIONS, &mut self.problems);
        let section = |name| find_member(&members, &[name]);
        type Read<'r, 'v> = fn(&mut DocumentReader<'r>, &Value<'v>);
        let in_order: [(&str, Read<'_, '_>); 16] = [
            ("hosts", Self::read_hosts),
            ("groups", Self::read_groups),
            ("tagOwners", Self::read_tag_owners),
            ("ipsets", Self::read_ip_sets),
            ("attrConfig", Self::read_attribute_config),
            ("postures", Self::read_postures),
            ("defaultSrcPosture", Self::read_default_posture),
            ("grants", Self::read_grants),
            ("acls", Self::read_acls),
            ("ssh", Self::read_ssh),
            ("nodeAttrs", Self::read_node_attributes),
            ("autoApprovers", Self::read_auto_approvers),
            ("tests", Self::read_access_tests),
            ("sshTests", Self::read_ssh_tests),
            ("derpMap", Self::read_derp_map),
            ("randomizeClientPort", Self::read_randomize_client_port),
        ];
        for (name, read) in in_order {
            if let Some(value) = section(name) {
                read(&mut self, value);
            }
        }
        if let Some(value) = section("disableIPv4") {
            self.policy.switches.disable_ipv4 = self.reader.read_boolean(value, &mut self.problems);
        }
        if let Some(value) = section("OneCGNATRoute") {
            self.read_one_cgnat_route(value);
        }
        if section("acls").is_none() && section("grants").is_none() {
            self.policy.rules = vec![Arc::new(AccessRule::allow_all())];
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

    /// Adds a mistake at a value.
    fn refuse(&mut self, value: &Value<'_>, message: impl Into<String>) {
        self.problems.push(self.reader.problem(value, message));
    }

    /// Adds a mistake at a value, and what to do about it.
    fn refuse_with_hint(&mut self, value: &Value<'_>, message: impl Into<String>, hint: &str) {
        let problem = self.reader.problem(value, message).with_hint(hint);
        self.problems.push(problem);
    }

    /// Adds a mistake that older releases did not notice. In a stored document it is only a warning: what was accepted
    /// stays in force.
    fn refuse_from_now_on(&mut self, value: &Value<'_>, message: impl Into<String>, hint: &str) {
        if self.context.is_stored {
            self.warn(value, message, hint);
        } else {
            self.refuse_with_hint(value, message, hint);
        }
    }

    /// Adds a warning: something does not do what it says.
    fn warn(&mut self, value: &Value<'_>, message: impl Into<String>, hint: &str) {
        let warning = self.reader.problem(value, message).with_hint(hint);
        self.warnings.push(warning);
    }

    /// Returns the objects of an array.
    fn read_objects<'v>(
        &mut self,
        value: &'v Value<'v>,
        what: &str,
    ) -> Vec<(&'v Object<'v>, &'v Value<'v>)> {
        let mut objects = Vec::new();
        for element in self.reader.read_elements(value, &mut self.problems) {
            match element {
                Value::Object(object) => objects.push((object, element)),
                other => self.refuse(other, format!("{what} is an object")),
            }
        }
        objects
    }

    /// Returns an array of strings.
    fn read_strings<'v>(&mut self, value: &'v Value<'v>) -> Vec<(&'v str, &'v Value<'v>)> {
        self.reader.read_strings(value, &mut self.problems)
    }

    /// Reads the sources of a rule.
    fn read_sources(
        &mut self,
        value: &Value<'_>,
        postures: &[String],
    ) -> BTreeSet<PosturedSelector> {
        let mut sources = BTreeSet::new();
        for (text, value) in self.read_strings(value) {
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
                            sources.insert(PosturedSelector { selector, postures });
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
    /// `hint` replaces the usual advice for a destination that names nothing.
    fn read_destination(
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

    /// Reads a list of selectors that must name users or tags. Messages call such a selector `what`, as in "an approver".
    fn read_identities(&mut self, value: &Value<'_>, what: &str) -> Vec<Selector> {
        let mut found = Vec::new();
        for (text, value) in self.read_strings(value) {
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
fn find_member<'v>(
    members: &[(&'static str, &'v Value<'v>)],
    names: &[&str],
) -> Option<&'v Value<'v>> {
    let found = members.iter().find(|(known, _)| names.contains(known));
    found.map(|(_, value)| *value)
}
