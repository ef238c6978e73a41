//! `ssh` (policy section 14.1).

use std::collections::BTreeSet;

use jsonc_parser::ast::{Object, Value};

use super::{
    DocumentReader,
    duration::{self, SECOND},
    find_member,
    lookup::missing_hint,
};
use crate::{
    policy::{PosturedSelector, SshPolicyRule},
    selector::{DOMAIN, Selector, login_name},
};

const SSH: &[&str] = &[
    "action",
    "src",
    "dst",
    "users",
    "checkPeriod",
    "acceptEnv",
    "srcPosture",
    "recorder",
    "enforceRecorder",
];

/// How long a check holds when the rule does not say: 12 hours.
const CHECK_PERIOD: u64 = 12 * 3600;
/// The shortest check period without a warning: a minute.
const SHORTEST_CHECK: u64 = 60 * SECOND;
/// The longest check period: a week.
const LONGEST_CHECK: u64 = 168 * 3600 * SECOND;

impl DocumentReader<'_> {
    pub(super) fn read_ssh(&mut self, value: &Value<'_>) {
        for (object, place) in self.read_objects(value, "an SSH rule") {
            self.read_ssh_rule(object, place);
        }
    }

    fn read_ssh_rule(&mut self, object: &Object<'_>, place: &Value<'_>) {
        let members = self.reader.read_members(object, SSH, &mut self.problems);
        let postures = self.read_source_postures(&members);
        let mut rule = SshPolicyRule {
            check: self.read_ssh_action(find_member(&members, &["action"]), place),
            sources: BTreeSet::new(),
            destinations: BTreeSet::new(),
            to_own: false,
            users: BTreeSet::new(),
            nonroot: false,
            localparts: BTreeSet::new(),
            check_period: CHECK_PERIOD,
            accept_env: None,
            recorders: BTreeSet::new(),
            enforce_recorder: false,
            line: self.reader.line_of(place),
        };
        if let Some(value) = find_member(&members, &["src"]) {
            rule.sources = self.read_ssh_sources(value, &postures);
        }
        if let Some(value) = find_member(&members, &["dst"]) {
            self.read_ssh_destinations(value, &mut rule);
        }
        if rule.check {
            self.refuse_tagged_checks(&members, &rule);
        }
        self.read_ssh_users(find_member(&members, &["users"]), place, &mut rule);
        if let Some(value) = find_member(&members, &["checkPeriod"]) {
            rule.check_period = self.read_check_period(value, rule.check);
        }
        if let Some(value) = find_member(&members, &["acceptEnv"]) {
            rule.accept_env = Some(self.read_accept_env(value));
        }
        if let Some(value) = find_member(&members, &["recorder"]) {
            for (text, value) in self.read_strings(value) {
                match self.resolve(text, value).as_deref() {
                    Ok([Selector::Tag(tag)]) => {
                        rule.recorders.insert(tag.clone());
                    }
                    Ok(_) => self.refuse(value, format!("recorder \"{text}\" is not a tag")),
                    Err(message) => self.refuse(value, message.clone()),
                }
            }
        }
        if let Some(value) = find_member(&members, &["enforceRecorder"]) {
            rule.enforce_recorder = self.reader.read_boolean(value, &mut self.problems);
        }
        self.policy.ssh.push(rule);
    }

    /// Refuses checks of tagged sources: nobody is behind a tagged node who could log in again.
    fn refuse_tagged_checks(
        &mut self,
        members: &[(&'static str, &Value<'_>)],
        rule: &SshPolicyRule,
    ) {
        let Some(value) = find_member(members, &["src"]) else {
            return;
        };
        if let Some(tagged) = rule.sources.iter().find(|source| is_tagged(source)) {
            let message = format!(
                "src \"{}\": a tagged source can not be in check mode",
                tagged.selector
            );
            let hint = "nobody is behind it who could log in again: use action \"accept\" in a rule of its own";
            self.refuse_from_now_on(value, message, hint);
        }
    }

    fn read_ssh_action(&mut self, value: Option<&Value<'_>>, place: &Value<'_>) -> bool {
        let text = value.and_then(|value| self.reader.read_string(value, &mut self.problems));
        match text.map(str::trim) {
            Some("check") => true,
            Some("accept") => false,
            None | Some("") => {
                self.refuse_with_hint(place, "action must be specified", "\"accept\" or \"check\"");
                false
            }
            Some(other) => {
                let message = format!("\"{other}\" is not a valid action");
                self.refuse_with_hint(value.unwrap_or(place), message, "\"accept\" or \"check\"");
                false
            }
        }
    }

    fn read_ssh_sources(
        &mut self,
        value: &Value<'_>,
        postures: &[String],
    ) -> BTreeSet<PosturedSelector> {
        let mut sources = BTreeSet::new();
        for (text, value) in self.read_strings(value) {
            match self.resolve(text, value) {
                Ok(selectors) => {
                    for selector in selectors {
                        if selector.is_identity() {
                            let postures = postures.to_vec();
                            sources.insert(PosturedSelector { selector, postures });
                        } else {
                            let hint = "name users, groups, tags or autogroups";
                            self.refuse_with_hint(
                                value,
                                format!("invalid src \"{}\"", text.trim()),
                                hint,
                            );
                        }
                    }
                }
                Err(message) if text.trim().starts_with(DOMAIN) => {
                    self.refuse(value, format!("[ssh] {message}"));
                }
                Err(message) => self.refuse_with_hint(value, message, missing_hint(text)),
            }
        }
        sources
    }

    fn read_ssh_destinations(&mut self, value: &Value<'_>, rule: &mut SshPolicyRule) {
        for (text, value) in self.read_strings(value) {
            let named = text.trim();
            match self.resolve(named, value).as_deref() {
                Ok([Selector::Own]) => {
                    if rule.sources.iter().any(is_tagged) {
                        let message = "a tagged source can not have autogroup:self as its dst";
                        self.refuse(value, message);
                    }
                    rule.to_own = true;
                }
                Ok([user @ Selector::User(_)]) => {
                    let only = rule
                        .sources
                        .iter()
                        .map(|source| &source.selector)
                        .eq([user]);
                    if !only && !rule.sources.is_empty() {
                        let message =
                            format!("dst \"{named}\": a user can only be the dst of the same user");
                        self.refuse(value, message);
                    }
                    rule.destinations.insert(user.clone());
                }
                Ok([selector @ (Selector::Tag(_) | Selector::Tagged | Selector::Member)]) => {
                    rule.destinations.insert(selector.clone());
                }
                Err(message) if named.starts_with("tag:") => self.refuse(value, message.clone()),
                _ => {
                    let hint = "name tags, autogroup:self, autogroup:tagged, or the user in src";
                    self.refuse_with_hint(value, format!("invalid dst \"{named}\""), hint);
                }
            }
        }
    }

    fn read_ssh_users(
        &mut self,
        value: Option<&Value<'_>>,
        place: &Value<'_>,
        rule: &mut SshPolicyRule,
    ) {
        let users = value.map_or_else(Vec::new, |value| self.read_strings(value));
        if users.is_empty() {
            let hint = "local accounts, such as \"root\" or \"autogroup:nonroot\"";
            self.refuse_with_hint(place, "users must be specified", hint);
        }
        for (text, value) in users {
            let user = text.trim();
            match user.strip_prefix("localpart:*@") {
                _ if user.is_empty() || user == "*" => {
                    self.refuse(value, format!("user \"{user}\" is not valid"));
                }
                // `localpart:*@` without a domain is the name of an account.
                Some("") | None if user != "autogroup:nonroot" => {
                    rule.users.insert(user.to_owned());
                }
                None | Some("") => rule.nonroot = true,
                Some(domain) => match self.check_own_domain(domain) {
                    Ok(()) => {
                        rule.localparts.insert(login_name(domain));
                    }
                    Err(message) => self.refuse(value, message),
                },
            }
        }
    }

    fn read_accept_env(&mut self, value: &Value<'_>) -> Vec<String> {
        let mut patterns = Vec::new();
        for (text, value) in self.read_strings(value) {
            if text.is_empty() {
                self.refuse(value, "acceptEnv values cannot be empty");
            }
            patterns.push(text.to_owned());
        }
        patterns
    }

    fn read_check_period(&mut self, value: &Value<'_>, is_check: bool) -> u64 {
        let Some(text) = self.reader.read_string(value, &mut self.problems) else {
            return CHECK_PERIOD;
        };
        if text == "always" {
            return 0;
        }
        match duration::parse(text) {
            Err(message) => self.refuse(value, message),
            Ok(nanos) if nanos < 0 => {
                let said = duration::format_duration(nanos);
                self.refuse(
                    value,
                    format!("checkPeriod {said} must be a positive duration"),
                );
            }
            Ok(nanos) if nanos.unsigned_abs() > LONGEST_CHECK => {
                let said = duration::format_duration(nanos);
                self.refuse(value, format!("checkPeriod {said} is above the max (168h)"));
            }
            Ok(nanos) => {
                if is_check && nanos.unsigned_abs() < SHORTEST_CHECK {
                    let said = duration::format_duration(nanos);
                    let message = format!("checkPeriod {said} is below one minute");
                    let hint = "people have to log in again all the time; \"always\" asks at every connection";
                    self.warn(value, message, hint);
                }
                return nanos.unsigned_abs() / SECOND;
            }
        }
        CHECK_PERIOD
    }
}

fn is_tagged(source: &PosturedSelector) -> bool {
    matches!(source.selector, Selector::Tag(_) | Selector::Tagged)
}
