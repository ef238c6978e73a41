//! Users and nodes as the language sees them.

use std::collections::{BTreeMap, BTreeSet};

use bowline_policy::{
    AttributeValue, Attributes, Compiler, Node, Policy, Problem, Role, User, failed_tests, tag_name,
};
use bowline_proto::{identity::v1 as identity, key_registry::v1 as registry};
use ipnet::IpNet;

/// The users and nodes of a tailnet, by number.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The users.
    pub users: BTreeMap<u64, User>,
    /// The nodes.
    pub nodes: BTreeMap<u64, Node>,
}

impl Inventory {
    /// Returns the tailnet's own domains: those of its owners, or of all users while it has no owner.
    #[must_use]
    pub fn domains(&self) -> BTreeSet<String> {
        let domains = |role: Option<Role>| {
            let users = self
                .users
                .values()
                .filter(move |user| role.is_none_or(|role| user.role == role));
            let domain = |user: &User| Some(user.login_name.rsplit_once('@')?.1.to_owned());
            users.filter_map(domain).collect::<BTreeSet<_>>()
        };
        let owners = domains(Some(Role::Owner));
        if owners.is_empty() {
            domains(None)
        } else {
            owners
        }
    }

    /// Returns a policy that may be put in force, or what is wrong with the document: its mistakes first, then the
    /// tests of its own that fail.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn policy(&self, text: &str) -> Result<Policy, Vec<Problem>> {
        let policy = Policy::parse(text, &self.domains())?;
        match failed_tests(&policy, &self.users, &self.nodes) {
            failed if failed.is_empty() => Ok(policy),
            failed => Err(failed),
        }
    }

    /// Returns a compiler with a policy applied to everything.
    #[must_use]
    pub fn compiler(self, policy: Policy) -> Compiler {
        let mut compiler = Compiler::new(policy);
        self.users
            .into_values()
            .for_each(|user| compiler.put_user(user));
        self.nodes
            .into_values()
            .for_each(|node| compiler.put_node(node));
        compiler
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
