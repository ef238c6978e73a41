//! What rules refer to: `hosts`, `groups`, `tagOwners`.

use std::collections::BTreeSet;

use jsonc_parser::ast::Value;

use super::DocumentReader;
use crate::selector::{self, login_name, tag_name};

impl DocumentReader<'_> {
    pub(super) fn read_hosts(&mut self, value: &Value<'_>) {
        for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
            let Some(text) = self.reader.read_string(value, &mut self.problems) else {
                continue;
            };
            if name.contains(['@', ':', '*']) {
                let message = format!("host name \"{name}\" may not contain @, : or *");
                self.problems.push(self.reader.problem_at(place, message));
            } else if let Some(range) = selector::parse_range(text.trim()) {
                self.policy.hosts.insert(name.to_owned(), range);
            } else {
                let message =
                    format!("host \"{name}\": \"{text}\" is neither an address nor a prefix");
                self.refuse(value, message);
            }
        }
    }

    pub(super) fn read_groups(&mut self, value: &Value<'_>) {
        for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
            if !name.starts_with("group:") || name.len() == "group:".len() {
                let message = format!("group name \"{name}\" does not begin with \"group:\"");
                self.problems.push(self.reader.problem_at(place, message));
            }
            let synced = self.context.groups.as_ref();
            if synced.is_some_and(|synced| synced.contains(name)) {
                let message = format!("\"{name}\" is a group of the tailnet too");
                let hint = "only those listed here are in it, as long as it is defined here";
                self.warnings
                    .push(self.reader.problem_at(place, message).with_hint(hint));
            }
            let mut members = BTreeSet::new();
            for (text, value) in self.read_strings(value) {
                let member = text.trim();
                if member.starts_with("group:") {
                    let message = format!(
                        "groups[\"{name}\"]: \"{member}\": group members cannot be recursive"
                    );
                    self.refuse_with_hint(value, message, "list the users of that group here too");
                } else if member.contains('@') && !member.starts_with("user:") {
                    members.insert(login_name(member));
                } else {
                    let message = format!("groups[\"{name}\"]: \"{member}\" is not a login name");
                    let hint = "groups hold users such as amira@example.com";
                    self.refuse_with_hint(value, message, hint);
                }
            }
            self.policy.groups.insert(name.to_owned(), members);
        }
    }

    pub(super) fn read_tag_owners(&mut self, value: &Value<'_>) {
        let entries = self.reader.read_entries(value, &mut self.problems);
        for (name, _, place) in &entries {
            match tag_problem(name) {
                None => {
                    let owners = &mut self.policy.tag_owners;
                    if owners.insert(tag_name(name), Vec::new()).is_some() {
                        let message =
                            format!("duplicate key: \"{name}\" is in tagOwners in another case");
                        self.problems.push(self.reader.problem_at(*place, message));
                    }
                }
                Some(problem) => {
                    let message = format!("tagOwners[\"{name}\"]: {problem}");
                    self.problems.push(self.reader.problem_at(*place, message));
                }
            }
        }
        for (name, value, _) in entries {
            let owners = self.read_identities(value, "the owner of a tag");
            if let Some(known) = self.policy.tag_owners.get_mut(&tag_name(name)) {
                *known = owners;
            }
        }
    }
}

/// Returns what is wrong with a tag's name.
fn tag_problem(name: &str) -> Option<&'static str> {
    let Some(rest) = name.strip_prefix("tag:") else {
        return Some("tags must start with 'tag:'");
    };
    if !rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Some("tag names must start with a letter, after 'tag:'");
    }
    let plain = rest
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (!plain).then_some("tag names can only contain numbers, letters, or dashes")
}
