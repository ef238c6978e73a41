//! The tailnet of a case, as the owners hold it.

use std::collections::{BTreeMap, BTreeSet};

use bowline_key_registry::{Router, elect_primaries};
use bowline_proto::{
    identity::v1::{Role, Tailnet, User},
    key_registry::v1::Node,
};
use chrono::{DateTime, Utc};

use crate::case::{Case, RecordedSelf};

const IS_OWNER: &str = "https://tailscale.com/cap/is-owner";
const IS_ADMIN: &str = "https://tailscale.com/cap/is-admin";
/// From here on the recorded service told clients whether to update themselves.
const AUTO_UPDATE_TOLD_FROM: &str = "2026-04-14T00:00:00Z";

/// A tailnet.
#[derive(Debug)]
pub struct CaseTailnet {
    /// Settings.
    pub tailnet: Tailnet,
    /// Users.
    pub users: Vec<User>,
    /// Nodes with their names in the case.
    pub nodes: Vec<(String, Node)>,
    /// The tailnet's own domains.
    pub domains: BTreeSet<String>,
}

impl CaseTailnet {
    /// Returns the tailnet of a case.
    #[must_use]
    pub fn new(case: &Case) -> Self {
        let users: Vec<_> = case
            .topology
            .users
            .iter()
            .map(|user| {
                let role = role(case, &user.name);
                User {
                    id: user.id,
                    tailnet_id: 1,
                    login_name: user.email.clone(),
                    role: role.into(),
                    ..User::default()
                }
            })
            .collect();
        let owners = users.iter().filter(|user| user.role() == Role::Owner);
        let mut domains: BTreeSet<_> = owners.filter_map(domain).collect();
        if domains.is_empty() {
            domains = users.iter().take(1).filter_map(domain).collect();
        }
        Self {
            tailnet: Tailnet {
                id: 1,
                name: "case".to_owned(),
                magic_dns_suffix: "case.test".to_owned(),
                auto_update: auto_update(case),
                ..Tailnet::default()
            },
            users,
            nodes: nodes(case),
            domains,
        }
    }
}

fn domain(user: &User) -> Option<String> {
    user.login_name
        .rsplit_once('@')
        .map(|(_, domain)| domain.to_owned())
}

/// Returns a user's role, as the capabilities of the user's own nodes show it.
fn role(case: &Case, user: &str) -> Role {
    let nodes = case.topology.nodes.iter();
    let own = nodes.filter(|(_, node)| node.tags.is_empty() && node.user.as_deref() == Some(user));
    let recorded = own.filter_map(|(name, _)| case.expect.get(name));
    let capabilities: BTreeSet<_> = recorded
        .filter_map(|recorded| recorded.own.cap_map.as_ref())
        .flat_map(BTreeMap::keys)
        .collect();
    let has = |name: &str| capabilities.iter().any(|known| *known == name);
    match (has(IS_OWNER), has(IS_ADMIN)) {
        (true, _) => Role::Owner,
        (false, true) => Role::Admin,
        (false, false) => Role::Member,
    }
}

fn auto_update(case: &Case) -> Option<bool> {
    let told_from: DateTime<Utc> = AUTO_UPDATE_TOLD_FROM.parse().ok()?;
    let newest = case
        .expect
        .values()
        .map(|recorded| recorded.own.created)
        .max()?;
    (newest >= told_from).then_some(case.tailnet_settings.settings.devices_auto_updates_on)
}

/// Returns the nodes, numbered in the order of their registration, with their primary routes.
fn nodes(case: &Case) -> Vec<(String, Node)> {
    let mut names: Vec<_> = case.topology.nodes.keys().collect();
    let own = |name: &String| case.expect.get(name).map(|recorded| &recorded.own);
    names.sort_by_key(|name| own(name).map(|own| own.created));
    let nodes = (1..)
        .zip(names)
        .map(|(id, name)| (name.clone(), node(case, id, name, own(name))));
    let mut nodes: Vec<_> = nodes.collect();
    let routers: Vec<_> = nodes
        .iter()
        .map(|(_, node)| Router {
            node: node.clone(),
            online: true,
        })
        .collect();
    for elected in elect_primaries(&routers) {
        for (_, node) in &mut nodes {
            if node.id == elected.id {
                *node = elected.clone();
            }
        }
    }
    nodes
}

fn node(case: &Case, id: u64, name: &str, recorded: Option<&RecordedSelf>) -> Node {
    let written = &case.topology.nodes[name];
    let user = written.user.as_ref().and_then(|name| {
        let mut users = case.topology.users.iter();
        users.find(|user| user.name == *name)
    });
    let routed = recorded
        .and_then(|own| own.primary_routes.clone())
        .unwrap_or_default();
    let mut approved: BTreeSet<_> = written.approved_routes.iter().cloned().collect();
    approved.extend(routed.iter().cloned());
    let mut advertised: BTreeSet<_> = written.routable_ips.iter().cloned().collect();
    advertised.extend(routed);
    let mut key = vec![0; 24];
    key.extend(id.to_be_bytes());
    Node {
        id,
        tailnet_id: 1,
        user_id: user.map_or(0, |user| user.id),
        tags: written.tags.clone(),
        machine_key: key.clone(),
        node_key: key,
        name: name.to_owned(),
        ipv4: written.ipv4.clone(),
        ipv6: written.ipv6.clone(),
        advertised_routes: advertised.into_iter().collect(),
        approved_routes: approved.into_iter().collect(),
        approved: true,
        ..Node::default()
    }
}
