//! What becomes of a headscale server here.

mod addresses;
mod keys;
mod names;
mod nodes;
mod verdict;

use std::collections::BTreeMap;

use bowline_policy::{DocumentVerdict, check_document};
use bowline_proto::{
    identity::v1::{DnsRecord, DnsSettings, SplitDns, User},
    key_registry::v1::{Node, SoftState},
};
use chrono::{DateTime, Utc};

pub(crate) use names::name_users;

use crate::{
    HeadscaleConfig,
    config::DnsSection,
    policy::rename_users,
    rows::{HeadscaleData, HeadscaleUser},
};

/// Everything that moves, in the order in which it is written.
#[derive(Debug, Default)]
pub struct MovingPlan {
    /// The users.
    pub users: Vec<MovingUser>,
    /// What names of nodes end in; `None` when headscale has no such names.
    pub magic_dns_suffix: Option<String>,
    /// What clients resolve names with.
    pub dns: DnsSettings,
    /// The nodes.
    pub nodes: Vec<MovingNode>,
    /// The policy; `None` when there is none, and everything is allowed.
    pub policy: Option<MovingPolicy>,
    /// What differs from before, and what does not move.
    pub notes: Vec<Note>,
}

/// A user who moves.
#[derive(Clone, Debug, Default)]
pub struct MovingUser {
    /// As headscale knows the user.
    pub there: HeadscaleUser,
    /// The user here; tailnet and number are not known yet.
    pub user: User,
}

/// A node that moves.
#[derive(Clone, Debug, Default)]
pub struct MovingNode {
    /// headscale's number of its user; zero for none.
    pub user_id: i64,
    /// The node; tailnet, number and user are not known yet.
    pub node: Node,
    /// What its client said last.
    pub state: SoftState,
}

/// The policy that moves.
#[derive(Debug, Default)]
pub struct MovingPolicy {
    /// The document, with users named as they are here.
    pub text: String,
    /// What is right and wrong with it, its tests included. Lines are those of headscale's document.
    pub verdict: DocumentVerdict,
}

/// What differs from before, or does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about, such as `key` or `policy`.
    pub about: &'static str,
    /// Which one.
    pub name: String,
    /// What becomes of it.
    pub text: String,
}

/// Says what becomes of headscale's users, nodes, keys, settings and policy.
#[must_use]
pub fn plan_move(
    data: &HeadscaleData,
    config: &HeadscaleConfig,
    policy: Option<&str>,
    now: DateTime<Utc>,
) -> MovingPlan {
    let mut plan = MovingPlan {
        users: name_users(&data.users),
        ..MovingPlan::default()
    };
    plan.note_renamed_users();
    plan.move_dns(&config.dns);
    let text = policy.filter(|text| !text.trim().is_empty());
    let renamed = text.map(|text| plan.rename_in_policy(text));
    // Which tags nodes have may depend on it.
    let parsed = renamed
        .as_deref()
        .and_then(|text| check_document(text, None).policy);
    plan.nodes = nodes::move_nodes(data, parsed.as_ref(), &plan.users, &mut plan.notes);
    keys::note_keys(data, &plan.users, now, &mut plan.notes);
    plan.policy = renamed.map(|text| MovingPolicy {
        verdict: verdict::judge_document(&text, &plan),
        text,
    });
    if let Some(issuer) = &config.issuer {
        let text = "people log in here only after `bowline connections create oidc`; whose mail address is in its --domain is \
                    the user of before";
        plan.add_note("login", issuer, text);
    }
    if config.randomize_client_port {
        let text = "is said in the policy here: \"randomizeClientPort\": true";
        plan.add_note("setting", "randomize_client_port", text);
    }
    plan
}

impl MovingPlan {
    fn add_note(&mut self, about: &'static str, name: &str, text: &str) {
        self.notes.push(Note {
            about,
            name: name.to_owned(),
            text: text.to_owned(),
        });
    }

    /// Returns the numbers that headscale's users have here, by their numbers there.
    #[must_use]
    pub fn user_numbers(&self, here: &[User]) -> BTreeMap<i64, u64> {
        let by_name: BTreeMap<_, _> = here
            .iter()
            .map(|user| (user.login_name.to_lowercase(), user.id))
            .collect();
        let number = |user: &MovingUser| {
            let found = by_name.get(&user.user.login_name.to_lowercase())?;
            Some((user.there.id, *found))
        };
        self.users.iter().filter_map(number).collect()
    }

    fn note_renamed_users(&mut self) {
        let renamed: Vec<_> = self
            .users
            .iter()
            .filter(|user| user.there.name != user.user.login_name)
            .map(|user| (user.there.name.clone(), user.user.login_name.clone()))
            .collect();
        for (before, after) in renamed {
            self.add_note("user", &before, &format!("is called {after}"));
        }
    }

    fn rename_in_policy(&mut self, text: &str) -> String {
        let (text, renamed) = rename_users(text, &self.users);
        for user in renamed {
            let place = format!("line {}", user.line);
            let says = format!("{} is written {}", user.before, user.after);
            self.add_note("policy", &place, &says);
        }
        text
    }

    fn move_dns(&mut self, dns: &DnsSection) {
        let mut records: Vec<DnsRecord> = Vec::new();
        for extra in &dns.extra_records {
            let record = DnsRecord {
                name: extra.name.trim_end_matches('.').to_lowercase(),
                r#type: match &*extra.r#type {
                    "" => "A".to_owned(),
                    other => other.to_uppercase(),
                },
                value: extra.value.clone(),
            };
            let is_taken = records
                .iter()
                .any(|other| (&other.name, &other.r#type) == (&record.name, &record.r#type));
            if !["A", "AAAA"].contains(&&*record.r#type) {
                let text = format!("does not move: clients answer no {} records", record.r#type);
                self.add_note("record", &record.name, &text);
            } else if is_taken {
                let text = format!(
                    "{} does not move: clients answer with one address",
                    record.value
                );
                self.add_note("record", &record.name, &text);
            } else {
                records.push(record);
            }
        }
        let nameservers = dns.nameservers.global.clone();
        let split = dns.nameservers.split.iter();
        self.dns = DnsSettings {
            magic_dns: dns.magic_dns,
            // headscale overrides unless it is told otherwise.
            override_local: dns.override_local_dns.unwrap_or(true) && !nameservers.is_empty(),
            nameservers,
            search_domains: dns.search_domains.clone(),
            split: split
                .map(|(suffix, nameservers)| SplitDns {
                    suffix: suffix.clone(),
                    nameservers: nameservers.clone(),
                })
                .collect(),
            records,
        };
        self.magic_dns_suffix = Some(dns.base_domain.trim_end_matches('.').to_lowercase())
            .filter(|suffix| !suffix.is_empty());
    }
}

#[cfg(test)]
mod tests;
