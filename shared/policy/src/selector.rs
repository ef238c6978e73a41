//! Selectors: who and where (policy reference section 4).

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;

use crate::inventory::Role;

/// What a rule names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// `*`.
    Any,
    /// The nodes of a user, by login name.
    User(String),
    /// The nodes of users whose login ends in `@domain`.
    Domain(String),
    /// The nodes of a group's members.
    Group(String),
    /// The nodes with a tag.
    Tag(String),
    /// All nodes of users.
    Member,
    /// All tagged nodes.
    Tagged,
    /// The nodes of users with a role.
    Role(Role),
    /// The devices of the same user; destinations only.
    Own,
    /// All public addresses; destinations only, through exit nodes.
    Internet,
    /// Addresses, whether or not a node has them.
    Prefix(IpNet),
}

/// What is wrong with a selector.
pub type SelectorError = String;

/// Reads a selector; names of hosts stand for their prefixes.
pub fn parse(text: &str, hosts: &BTreeMap<String, IpNet>) -> Result<Selector, SelectorError> {
    let text = text.trim();
    if let Some(prefix) = parse_prefix(text) {
        return Ok(Selector::Prefix(prefix));
    }
    if text == "*" {
        return Ok(Selector::Any);
    }
    if let Some(domain) = text.strip_prefix("user:*@") {
        return Ok(Selector::Domain(domain.to_owned()));
    }
    if text.contains('@') {
        return Ok(Selector::User(text.to_owned()));
    }
    if text.starts_with("group:") {
        return Ok(Selector::Group(text.to_owned()));
    }
    if text.starts_with("tag:") {
        return Ok(Selector::Tag(text.to_owned()));
    }
    if let Some(name) = text.strip_prefix("autogroup:") {
        return autogroup(name).ok_or_else(|| format!("unknown autogroup \"{text}\""));
    }
    if let Some((kind, _)) = text.split_once(':') {
        return Err(format!(
            "\"{kind}:\" selectors are not supported by this release"
        ));
    }
    match hosts.get(text) {
        Some(prefix) => Ok(Selector::Prefix(*prefix)),
        None => Err(format!("host not found: \"{text}\"")),
    }
}

/// Reads an address or a prefix; host bits are cut off.
pub fn parse_prefix(text: &str) -> Option<IpNet> {
    let text = text
        .strip_prefix('[')
        .map_or(text, |inner| inner.strip_suffix(']').unwrap_or(text));
    let prefix = text.replace("]/", "/");
    if let Ok(address) = prefix.parse::<std::net::IpAddr>() {
        return Some(address.into());
    }
    prefix.parse::<IpNet>().ok().map(|prefix| prefix.trunc())
}

fn autogroup(name: &str) -> Option<Selector> {
    Some(match name {
        "member" | "members" => Selector::Member,
        "tagged" => Selector::Tagged,
        "self" => Selector::Own,
        "internet" => Selector::Internet,
        "owner" => Selector::Role(Role::Owner),
        "admin" => Selector::Role(Role::Admin),
        "it-admin" => Selector::Role(Role::ItAdmin),
        "network-admin" => Selector::Role(Role::NetworkAdmin),
        "billing-admin" => Selector::Role(Role::BillingAdmin),
        "auditor" => Selector::Role(Role::Auditor),
        _ => return None,
    })
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::User(name) | Self::Group(name) | Self::Tag(name) => formatter.write_str(name),
            Self::Domain(domain) => write!(formatter, "user:*@{domain}"),
            Self::Member => formatter.write_str("autogroup:member"),
            Self::Tagged => formatter.write_str("autogroup:tagged"),
            Self::Role(role) => write!(formatter, "autogroup:{}", role.name()),
            Self::Own => formatter.write_str("autogroup:self"),
            Self::Internet => formatter.write_str("autogroup:internet"),
            Self::Prefix(prefix) => prefix.fmt(formatter),
        }
    }
}
