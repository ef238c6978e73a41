//! Looks up what selectors name.

use jsonc_parser::ast::Value;

use super::{DocumentReader, MOST_EXPANDED};
use crate::selector::{self, DOMAIN, Selector, WrittenSelector, login_name};

impl DocumentReader<'_> {
    /// Reads a selector and looks up what it names: a host or an IP set is its ranges.
    pub(super) fn resolve(
        &mut self,
        text: &str,
        place: &Value<'_>,
    ) -> Result<Vec<Selector>, String> {
        let text = text.trim();
        match selector::parse(text) {
            WrittenSelector::Selector(selector) => {
                let known = self.check_known(text, selector, place);
                known.map(|known| vec![known])
            }
            WrittenSelector::IpSet(name) => {
                let found = self.ip_sets.get(name).map(Vec::len);
                self.count_expanded(found.ok_or_else(|| format!("ipset not found: \"{name}\""))?)?;
                let ranges = self.ip_sets[name].iter().copied();
                Ok(ranges.map(Selector::Range).collect())
            }
            WrittenSelector::Host(name) => match self.policy.hosts.get(name) {
                Some(range) => Ok(vec![Selector::Range(*range)]),
                None => Err(format!("host not found: \"{name}\"")),
            },
            WrittenSelector::UnknownAutogroup => Err(format!("autogroup not found: \"{text}\"")),
            // Older releases took it for a login, which nobody has: a stored document stays in force.
            WrittenSelector::UnknownKind if self.context.is_stored => {
                Ok(vec![Selector::User(login_name(text))])
            }
            WrittenSelector::UnknownKind => Err(format!("\"{text}\" is not a selector")),
        }
    }

    /// Counts sources and addresses that the document expands to, and refuses too many: see [`MOST_EXPANDED`].
    pub(super) fn count_expanded(&mut self, count: usize) -> Result<(), String> {
        self.expanded = self.expanded.saturating_add(count);
        if self.expanded > MOST_EXPANDED {
            return Err(format!(
                "the document means more than {MOST_EXPANDED} sources and addresses: name them by groups and tags"
            ));
        }
        Ok(())
    }

    /// Checks that what a selector names exists.
    fn check_known(
        &mut self,
        text: &str,
        selector: Selector,
        place: &Value<'_>,
    ) -> Result<Selector, String> {
        match &selector {
            Selector::Group(name) if !self.policy.groups.contains_key(name) => {
                self.check_synced_group(name, place)?;
            }
            Selector::Tag(name) if !self.policy.tag_owners.contains_key(name) => {
                return Err(format!("tag not found: \"{text}\""));
            }
            Selector::Domain(_) => {
                self.check_own_domain(text.strip_prefix(DOMAIN).unwrap_or(text))?
            }
            Selector::Member => {
                let first = self.member_spelling.get_or_insert_with(|| text.to_owned());
                if first != text {
                    return Err(format!(
                        "\"{text}\" and \"{first}\" are the same: use one of them"
                    ));
                }
            }
            Selector::Service(_) => self.warn(
                place,
                format!("there are no services here yet: \"{text}\" selects nothing"),
                "rules to it let nobody through",
            ),
            Selector::Shared => self.warn(
                place,
                format!("nodes can not be shared here yet: \"{text}\" selects nobody"),
                "rules from it let nobody through",
            ),
            _ => {}
        }
        Ok(selector)
    }

    /// Checks that a group which the document does not define is one of the tailnet.
    ///
    /// A group that is gone may stay when the document in force names it: it selects nobody. Without knowledge of the
    /// tailnet any group is accepted, with a warning.
    fn check_synced_group(&mut self, name: &str, place: &Value<'_>) -> Result<(), String> {
        let context = self.context;
        let is_named_before = self.policy.synced_groups.contains(name);
        let warning = match &context.groups {
            _ if context.is_stored || is_named_before => None,
            Some(groups) if groups.contains(name) => None,
            Some(_) if context.groups_in_force.contains(name) => Some(format!(
                "there is no group \"{name}\" now: it selects nobody"
            )),
            Some(_) => return Err(format!("group not found: \"{name}\"")),
            None => Some(format!(
                "\"{name}\" is not defined here: it selects who is in the tailnet's group of that name"
            )),
        };
        if let Some(warning) = warning {
            self.warn(place, warning, UNDEFINED_GROUP);
        }
        self.policy.synced_groups.insert(name.to_owned());
        Ok(())
    }

    /// Checks that a domain is the tailnet's own.
    pub(super) fn check_own_domain(&self, domain: &str) -> Result<(), String> {
        let domains = &self.context.domains;
        if domains.is_empty() && domain != "*" || domains.contains(domain) {
            return Ok(());
        }
        let lower = login_name(domain);
        let advice = if domains.contains(&lower) {
            format!(": write {lower}")
        } else {
            String::new()
        };
        Err(format!(
            "{domain} is not associated with this Tailnet and cannot be used in user:*@<domain> expressions{advice}"
        ))
    }
}

const UNDEFINED_GROUP: &str = "a group is a key of groups, or a group of the tailnet (bowline groups list); any other is refused when the policy is set";

/// Returns advice for a selector that names nothing.
pub(super) fn missing_hint(text: &str) -> &'static str {
    match text.trim().split_once(':').map(|(kind, _)| kind) {
        Some("tag") => "every tag is a key of tagOwners",
        Some("group") => {
            "a group is a key of groups, or a group of the tailnet: bowline groups list"
        }
        Some("ipset") => "every IP set is a key of ipsets",
        Some("autogroup") if text.trim().starts_with("autogroup:member") => "",
        Some("autogroup") => "see the list of autogroups in the policy language",
        Some(_) if text.contains('@') => {
            "a user is the login alone, such as amira@example.com; all of a domain are user:*@example.com"
        }
        _ => "a host is a key of hosts; a user's login has an @",
    }
}
