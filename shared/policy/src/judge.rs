//! What a node may have: tags, routes, addresses (policy sections 15, 16 and 17.6).

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::{
    Policy,
    inventory::{PolicyUser, Role},
    selector::{Selector, tag_name},
};

/// A node, or the user who registers it.
#[derive(Clone, Debug, Default)]
pub struct Applicant {
    /// The user who authenticated, if one did.
    pub user: Option<PolicyUser>,
    /// Tags it has already.
    pub tags: Vec<String>,
    /// Whether it may have every defined tag.
    pub administrator: bool,
}

/// Returns the requested tags that the applicant may not have: undefined ones, and those it does not own.
#[must_use]
pub fn refused_tags(policy: &Policy, applicant: &Applicant, requested: &[String]) -> Vec<String> {
    let permitted = |tag: &String| {
        let tag = tag_name(tag);
        let is_administrator = applicant.administrator || is_administrator(applicant);
        policy.tag_owners.contains_key(&tag)
            && (is_administrator || owns_tag(policy, applicant, &tag))
    };
    requested
        .iter()
        .filter(|tag| !permitted(tag))
        .cloned()
        .collect()
}

/// Returns the tags that the policy does not define, each once.
#[must_use]
pub fn undefined_tags<'t>(
    policy: &Policy,
    tags: impl IntoIterator<Item = &'t String>,
) -> Vec<String> {
    let is_defined = |tag: &String| policy.tag_owners.contains_key(&tag_name(tag));
    let undefined: BTreeSet<_> = tags.into_iter().filter(|tag| !is_defined(tag)).collect();
    undefined.into_iter().cloned().collect()
}

/// Returns the routes that the policy approves without an administrator (policy section 15).
///
/// A route is approved by a prefix that contains it; the two exit routes only by the list for exit nodes.
#[must_use]
pub fn approved_routes(policy: &Policy, node: &Applicant, advertised: &[IpNet]) -> Vec<IpNet> {
    let is_approver = |selectors: &[Selector]| {
        selectors
            .iter()
            .any(|selector| selects_applicant(policy, node, selector))
    };
    let approved = |route: &&IpNet| {
        if route.prefix_len() == 0 {
            return is_approver(&policy.approvers.exit_nodes);
        }
        let mut prefixes = policy.approvers.routes.iter();
        prefixes.any(|(prefix, approvers)| prefix.contains(*route) && is_approver(approvers))
    };
    advertised.iter().filter(approved).copied().collect()
}

/// Returns the pools that a new node's IPv4 address comes from; empty when the policy does not say. The first entry of
/// `nodeAttrs` with a pool that targets the node decides (policy section 17.6).
#[must_use]
pub fn address_pools(policy: &Policy, node: &Applicant) -> Vec<IpNet> {
    let mut entries = policy
        .attributes
        .iter()
        .filter(|entry| !entry.pools.is_empty());
    let found = entries.find(|entry| {
        entry
            .targets
            .iter()
            .any(|target| selects_applicant(policy, node, target))
    });
    found.map_or_else(Vec::new, |entry| entry.pools.clone())
}

/// Says whether a selector selects a node by who it is: by its tags, or else by its user.
fn selects_applicant(policy: &Policy, node: &Applicant, selector: &Selector) -> bool {
    match selector {
        Selector::Any => true,
        Selector::Tag(tag) => has_tag(node, tag),
        Selector::Tagged => !node.tags.is_empty(),
        other => {
            let user = node.user.as_ref().filter(|_| node.tags.is_empty());
            user.is_some_and(|user| policy.selects_user(other, user))
        }
    }
}

fn has_tag(applicant: &Applicant, tag: &str) -> bool {
    applicant
        .tags
        .iter()
        .any(|own| own.eq_ignore_ascii_case(tag))
}

/// Says whether an applicant's role gives it every defined tag.
fn is_administrator(applicant: &Applicant) -> bool {
    let roles = [Role::Owner, Role::Admin, Role::NetworkAdmin];
    applicant
        .user
        .as_ref()
        .is_some_and(|user| roles.contains(&user.role))
}

/// Says whether an applicant owns a tag: directly, or because it owns a tag that owns it, and so on.
///
/// Example: with `"tag:web": ["group:ops"], "tag:db": ["tag:web"]` a member of `group:ops` owns both tags.
fn owns_tag(policy: &Policy, applicant: &Applicant, tag: &String) -> bool {
    // Tags may own each other in a circle, and a chain may be too long for recursion.
    let mut seen = BTreeSet::from([tag]);
    let mut open = vec![tag];
    while let Some(owners) = open.pop().and_then(|tag| policy.tag_owners.get(tag)) {
        for owner in owners {
            let user = applicant.user.as_ref();
            let is_owner = match owner {
                Selector::Tag(tag) => has_tag(applicant, tag),
                Selector::Tagged => !applicant.tags.is_empty(),
                other => user.is_some_and(|user| policy.selects_user(other, user)),
            };
            if is_owner {
                return true;
            }
            if let Selector::Tag(tag) = owner
                && policy.tag_owners.contains_key(tag)
                && seen.insert(tag)
            {
                open.push(tag);
            }
        }
    }
    false
}

impl Policy {
    /// Says whether an identity selector selects a user.
    pub(crate) fn selects_user(&self, selector: &Selector, user: &PolicyUser) -> bool {
        match selector {
            Selector::Any => true,
            Selector::Member => user.role != Role::Outsider,
            Selector::User(login_name) => *login_name == user.login_name,
            Selector::Domain(domain) => {
                let own = user.login_name.rsplit_once('@');
                user.role != Role::Outsider && own.is_some_and(|(_, own)| own == domain)
            }
            // A group that the document defines is not that of the same name from an identity provider.
            Selector::Group(name) => match self.groups.get(name) {
                Some(members) => members.contains(&user.login_name),
                None => user.groups.contains(name),
            },
            Selector::Role(role) => user.role.is_in(*role),
            Selector::Everyone
            | Selector::Tag(_)
            | Selector::Tagged
            | Selector::Shared
            | Selector::Own
            | Selector::Internet
            | Selector::Service(_)
            | Selector::Range(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DocumentContext;

    fn policy() -> Policy {
        Policy::parse(
            r#"{"groups": {"group:eng": ["amira@example.com"]},
                "tagOwners": {"tag:web": ["group:eng"], "tag:db": ["tag:web"], "tag:none": [],
                              "tag:a": ["tag:b"], "tag:b": ["tag:a"]}}"#,
            &DocumentContext::default(),
        )
        .unwrap()
    }

    fn user(login_name: &str, role: Role) -> Applicant {
        let user = PolicyUser {
            login_name: login_name.to_owned(),
            role,
            ..PolicyUser::default()
        };
        Applicant {
            user: Some(user),
            ..Applicant::default()
        }
    }

    fn refused(applicant: &Applicant, tags: &[&str]) -> Vec<String> {
        let tags: Vec<_> = tags.iter().map(|&tag| tag.to_owned()).collect();
        refused_tags(&policy(), applicant, &tags)
    }

    #[test]
    fn owners_may_use_their_tags_and_those_below() {
        let amira = user("amira@example.com", Role::Member);
        assert!(refused(&amira, &["tag:web", "tag:db"]).is_empty());
        assert_eq!(refused(&amira, &["tag:web", "tag:none"]), ["tag:none"]);
        let web = Applicant {
            tags: vec!["tag:web".to_owned()],
            ..Applicant::default()
        };
        assert!(refused(&web, &["tag:db"]).is_empty());
        assert_eq!(refused(&web, &["tag:web"]), ["tag:web"]);
    }

    #[test]
    fn tags_are_the_same_in_any_case() {
        let policy = Policy::parse(
            r#"{"tagOwners": {"tag:Web": ["amira@example.com"], "tag:db": ["tag:wEb"]},
                "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:WEB"]}}}"#,
            &DocumentContext::default(),
        )
        .unwrap();
        let amira = user("amira@example.com", Role::Member);
        let requested = ["tag:web", "tag:WEB", "tag:Db"].map(str::to_owned);
        assert!(refused_tags(&policy, &amira, &requested).is_empty());
        let route = ["10.1.0.0/16".parse().unwrap()];
        let web = Applicant {
            tags: vec!["tag:WeB".to_owned()],
            ..Applicant::default()
        };
        assert_eq!(approved_routes(&policy, &web, &route), route);
        assert!(refused_tags(&policy, &web, &["tag:db".to_owned()]).is_empty());
    }

    #[test]
    fn tags_that_no_owner_is_named_for_are_undefined_whoever_asks() {
        let tags = ["tag:none", "tag:X", "tag:WEB", "tag:X"].map(str::to_owned);
        assert_eq!(undefined_tags(&policy(), &tags), ["tag:X"]);
        assert_eq!(
            undefined_tags(&Policy::allow_all(), &tags[..1]),
            ["tag:none"]
        );
    }

    #[test]
    fn strangers_undefined_tags_and_cycles_get_nothing() {
        let ben = user("ben@example.com", Role::Member);
        assert_eq!(
            refused(&ben, &["tag:web", "tag:a", "tag:x"]),
            ["tag:web", "tag:a", "tag:x"]
        );
        let admin = user("ben@example.com", Role::Admin);
        assert_eq!(refused(&admin, &["tag:none", "tag:x"]), ["tag:x"]);
    }
}
