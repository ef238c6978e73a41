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
            // A group that the document defines is not the tailnet's of the same name.
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
mod tests;
