//! Users and nodes as the language sees them.

use std::collections::BTreeMap;

use bowline_policy::{
    Node, Policy, Problem, Role, User, device_attributes, failed_tests, own_domains, tag_name,
    unknown_attributes,
};
use bowline_proto::{identity::v1 as identity, key_registry::v1 as registry};
use ipnet::IpNet;

/// Returns a policy that may be put in force, or what is wrong with the document: its mistakes first, then what no
/// device can meet, then the tests of its own that fail.
///
/// # Errors
///
/// What is wrong with it.
pub fn policy(
    text: &str,
    users: &BTreeMap<u64, User>,
    nodes: &BTreeMap<u64, Node>,
) -> Result<Policy, Vec<Problem>> {
    let policy = Policy::parse(text, &own_domains(users))?;
    let problems = [
        unknown_attributes(&policy),
        failed_tests(&policy, users, nodes),
    ];
    match problems.into_iter().find(|problems| !problems.is_empty()) {
        Some(problems) => Err(problems),
        None => Ok(policy),
    }
}

/// Returns a user as the language sees it.
#[must_use]
pub fn user(user: &identity::User) -> User {
    User {
        id: user.id,
        login_name: user.login_name.clone(),
        role: role(user.role()),
        groups: user
            .groups
            .iter()
            .map(|name| format!("group:{name}"))
            .collect(),
    }
}

/// Returns a role as the language sees it.
pub fn role(role: identity::Role) -> Role {
    match role {
        identity::Role::Owner => Role::Owner,
        identity::Role::Admin => Role::Admin,
        identity::Role::ItAdmin => Role::ItAdmin,
        identity::Role::NetworkAdmin => Role::NetworkAdmin,
        identity::Role::BillingAdmin => Role::BillingAdmin,
        identity::Role::Auditor => Role::Auditor,
        identity::Role::Member | identity::Role::Unspecified => Role::Member,
    }
}

/// Returns a node as the language sees it.
#[must_use]
pub fn node(node: &registry::Node) -> Node {
    let usable = node
        .advertised_routes
        .iter()
        .filter(|route| node.approved_routes.contains(route));
    let mut usable_routes: Vec<IpNet> = usable.filter_map(|route| route.parse().ok()).collect();
    usable_routes.sort();
    Node {
        id: node.id,
        user: node.user_id,
        tags: node.tags.iter().map(|tag| tag_name(tag)).collect(),
        ipv4: node.ipv4.parse().ok(),
        ipv6: node.ipv6.parse().ok(),
        usable_routes,
        attributes: device_attributes(&node.os, &node.client_version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postures_that_no_device_can_meet_are_refused_with_those_that_some_can() {
        let check = |assertion: &str| {
            let text = format!(r#"{{"postures": {{"posture:p": ["{assertion}"]}}}}"#);
            policy(&text, &BTreeMap::new(), &BTreeMap::new())
        };
        for assertion in ["node:os == 'linux'", "node:tsVersion >= '1.80'"] {
            assert!(check(assertion).is_ok(), "{assertion}");
        }
        for assertion in [
            "node:osVersion >= '14'",
            "ip:country IS SET",
            "custom:tier == 'a'",
        ] {
            let problems = check(assertion).unwrap_err();
            assert!(
                problems[0].message.contains("is never set here")
                    && problems[0].hint.contains("node:tsVersion"),
                "{}",
                problems[0]
            );
        }
    }

    #[test]
    fn tags_of_nodes_are_compared_in_lower_case() {
        let registered = registry::Node {
            tags: vec!["tag:Web".to_owned()],
            ..registry::Node::default()
        };
        assert_eq!(node(&registered).tags, ["tag:web"]);
    }
}
