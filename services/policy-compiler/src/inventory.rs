//! Users and nodes as the language sees them.

use bowline_policy::{AttributeValue, Attributes, Node, Role, User};
use bowline_proto::{identity::v1 as identity, key_registry::v1 as registry};
use ipnet::IpNet;

/// Returns a user as the language sees it.
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
        tags: node.tags.clone(),
        ipv4: node.ipv4.parse().ok(),
        ipv6: node.ipv6.parse().ok(),
        usable_routes,
        attributes: attributes(&node.os, &node.client_version),
    }
}

/// Returns what postures judge (policy reference section 18.3), from what a client says of itself.
fn attributes(os: &str, client_version: &str) -> Attributes {
    let mut attributes = Attributes::new();
    let mut put = |name: &str, value: &str| {
        attributes.insert(name.to_owned(), AttributeValue::Text(value.to_owned()));
    };
    if !os.is_empty() {
        put("node:os", &os.to_lowercase());
    }
    // Clients append the build to the number: "1.102.5-tabcdef".
    let version = client_version.split('-').next().unwrap_or_default();
    if !version.is_empty() {
        put("node:tsVersion", version);
        let minor = version
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse::<u32>().ok());
        if let Some(minor) = minor {
            let track = if minor % 2 == 0 { "stable" } else { "unstable" };
            put("node:tsReleaseTrack", track);
        }
    }
    attributes
}
