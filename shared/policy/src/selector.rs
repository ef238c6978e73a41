//! Selectors: who and where (policy section 4).

use std::fmt;

use bowline_ip_set::IpRange;

use crate::inventory::Role;

/// What a rule names. Hosts and IP sets are replaced by their ranges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// `*`.
    Any,
    /// `autogroup:danger-all`: every address, inside and outside; sources only.
    Everyone,
    /// The nodes of a user, by login name, see [`login_name`].
    User(String),
    /// The nodes of users whose login ends in `@domain`.
    Domain(String),
    /// The nodes of a group's members.
    Group(String),
    /// The nodes with a tag, see [`tag_name`].
    Tag(String),
    /// All nodes of users.
    Member,
    /// All tagged nodes.
    Tagged,
    /// Users of other tailnets to whom a node is shared; there are none yet.
    Shared,
    /// The nodes of users with a role.
    Role(Role),
    /// The devices of the same user; destinations only.
    Own,
    /// All public addresses; destinations only, through exit nodes.
    Internet,
    /// The virtual addresses of a service; destinations only. Services have no addresses yet.
    Service(String),
    /// Addresses, whether or not a node has them.
    Range(IpRange),
}

impl Selector {
    /// Says whether it selects nodes by who they are.
    #[must_use]
    pub const fn is_identity(&self) -> bool {
        matches!(
            self,
            Self::User(_)
                | Self::Domain(_)
                | Self::Group(_)
                | Self::Tag(_)
                | Self::Member
                | Self::Tagged
                | Self::Role(_)
        )
    }
}

/// What a text names, before hosts and IP sets are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WrittenSelector<'t> {
    /// A selector that needs no lookup.
    Selector(Selector),
    /// An IP set, with its prefix.
    IpSet(&'t str),
    /// A host.
    Host(&'t str),
    /// `autogroup:nonroot` and unknown autogroups.
    UnknownAutogroup,
    /// A login with an unknown kind before it, such as `user:amira@example.com`.
    UnknownKind,
}

/// Returns a tag in lower case: tags are the same in any case.
#[must_use]
pub fn tag_name(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// Returns a login name in lower case: logins are the same in any case.
#[must_use]
pub fn login_name(text: &str) -> String {
    text.to_lowercase()
}

/// Classifies a text (policy section 4.1).
pub(crate) fn parse(text: &str) -> WrittenSelector<'_> {
    let text = text.trim();
    if let Some(range) = parse_range(text) {
        return WrittenSelector::Selector(Selector::Range(range));
    }
    if text == "*" {
        return WrittenSelector::Selector(Selector::Any);
    }
    if let Some(domain) = text.strip_prefix(DOMAIN) {
        return WrittenSelector::Selector(Selector::Domain(domain.to_lowercase()));
    }
    // Names of any kind may contain an @, so the kind before the first colon is looked at first.
    if text.starts_with("group:") {
        return WrittenSelector::Selector(Selector::Group(text.to_owned()));
    }
    if text.starts_with("tag:") {
        return WrittenSelector::Selector(Selector::Tag(tag_name(text)));
    }
    if let Some(name) = text.strip_prefix("autogroup:") {
        return parse_autogroup(name)
            .map_or(WrittenSelector::UnknownAutogroup, WrittenSelector::Selector);
    }
    if text.starts_with("ipset:") {
        return WrittenSelector::IpSet(text);
    }
    if text.starts_with("svc:") {
        return WrittenSelector::Selector(Selector::Service(text.to_owned()));
    }
    match text.split_once('@') {
        Some((before, _)) if before.contains(':') => WrittenSelector::UnknownKind,
        Some(_) => WrittenSelector::Selector(Selector::User(login_name(text))),
        None => WrittenSelector::Host(text),
    }
}

/// The beginning of a selector for all users of a domain.
pub(crate) const DOMAIN: &str = "user:*@";

/// Reads an address or a prefix, in brackets or without; host bits are cut off. Ranges `a-b` are no selectors.
pub(crate) fn parse_range(text: &str) -> Option<IpRange> {
    let inner = text.strip_prefix('[').and_then(|rest| {
        let (address, rest) = rest.split_once(']')?;
        let is_range = rest.is_empty() || rest.starts_with('/');
        is_range.then(|| format!("{address}{rest}"))
    });
    let text = inner.as_deref().unwrap_or(text);
    if text.contains('-') {
        return None;
    }
    text.parse().ok()
}

fn parse_autogroup(name: &str) -> Option<Selector> {
    Some(match name {
        "member" | "members" => Selector::Member,
        "tagged" => Selector::Tagged,
        "shared" => Selector::Shared,
        "self" => Selector::Own,
        "internet" => Selector::Internet,
        "danger-all" => Selector::Everyone,
        name => Selector::Role(Role::with_name(name)?),
    })
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::Everyone => formatter.write_str("autogroup:danger-all"),
            Self::User(name) | Self::Group(name) | Self::Tag(name) | Self::Service(name) => {
                formatter.write_str(name)
            }
            Self::Domain(domain) => write!(formatter, "user:*@{domain}"),
            Self::Member => formatter.write_str("autogroup:member"),
            Self::Tagged => formatter.write_str("autogroup:tagged"),
            Self::Shared => formatter.write_str("autogroup:shared"),
            Self::Role(role) => write!(formatter, "autogroup:{}", role.name()),
            Self::Own => formatter.write_str("autogroup:self"),
            Self::Internet => formatter.write_str("autogroup:internet"),
            Self::Range(range) => range.fmt(formatter),
        }
    }
}
