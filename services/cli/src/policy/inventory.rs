//! `bowline policy check` and the inventory it runs a document's tests against: no server is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bowline_policy::{Node, Policy, Problem, Role, User, failed_tests};
use bowline_proto::{identity::v1 as identity, policy::v1::PolicyProblem};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{complain, read};
use crate::{
    administer::{TailnetArg, nodes, users},
    connection::ConnectionArgs,
    failure::{Failure, Kind},
    output::Printer,
};

/// Users and nodes as the policy judges them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inventory {
    /// The users.
    users: Vec<ListedUser>,
    /// The nodes.
    nodes: Vec<ListedNode>,
}

/// A user.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedUser {
    login_name: String,
    /// As in `autogroup:`; a member when not given.
    #[serde(default)]
    role: String,
    /// Groups of the identity provider, without `group:`.
    #[serde(default)]
    groups: Vec<String>,
}

/// A node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedNode {
    name: String,
    /// The owner's login name, without tags.
    #[serde(default)]
    user: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    addresses: Vec<std::net::IpAddr>,
    /// Routes that are advertised and approved.
    #[serde(default)]
    routes: Vec<ipnet::IpNet>,
}

/// Prints what is wrong with a document, if anything is.
pub fn check(printer: &Printer, file: &Path, inventory: Option<&Path>) -> Result<(), Failure> {
    let text = read(file)?;
    let known = inventory.map(load).transpose()?;
    let problems = match Policy::parse(&text, &BTreeSet::new()) {
        Err(problems) => problems,
        Ok(policy) => known.map_or_else(Vec::new, |(users, nodes)| {
            failed_tests(&policy, &users, &nodes)
        }),
    };
    let told = |problem: Problem| PolicyProblem {
        line: problem.line,
        column: problem.column,
        message: problem.message,
        hint: problem.hint,
    };
    let problems: Vec<_> = problems.into_iter().map(told).collect();
    complain(printer, &file.display().to_string(), &problems)?;
    let sentence = match inventory {
        Some(_) => "the policy is valid, and its tests pass",
        None => "the policy is valid (its tests need --inventory)",
    };
    printer.said(&json!({ "problems": [] }), sentence);
    Ok(())
}

type Known = (BTreeMap<u64, User>, BTreeMap<u64, Node>);

fn load(file: &Path) -> Result<Known, Failure> {
    let wrong = |what: String| Failure::new(Kind::Failed, format!("{}: {what}", file.display()));
    let inventory: Inventory =
        serde_json::from_str(&read(file)?).map_err(|error| wrong(error.to_string()))?;
    let mut ids = BTreeMap::new();
    let mut users = BTreeMap::new();
    for (id, user) in (1..).zip(inventory.users) {
        let role = match &*user.role {
            "" => Role::Member,
            name => Role::named(name).ok_or_else(|| wrong(format!("\"{name}\" is no role")))?,
        };
        ids.insert(user.login_name.clone(), id);
        let groups = user
            .groups
            .iter()
            .map(|name| format!("group:{name}"))
            .collect();
        users.insert(
            id,
            User {
                id,
                login_name: user.login_name,
                role,
                groups,
            },
        );
    }
    let mut nodes = BTreeMap::new();
    for (id, listed) in (1..).zip(inventory.nodes) {
        let user = match &*listed.user {
            "" => 0,
            name => *ids.get(name).ok_or_else(|| {
                wrong(format!(
                    "node \"{}\": there is no user \"{name}\" under users",
                    listed.name
                ))
            })?,
        };
        let mut node = Node {
            id,
            user,
            tags: listed.tags,
            usable_routes: listed.routes,
            ..Node::default()
        };
        for address in listed.addresses {
            match address {
                std::net::IpAddr::V4(address) => node.ipv4 = Some(address),
                std::net::IpAddr::V6(address) => node.ipv6 = Some(address),
            }
        }
        nodes.insert(id, node);
    }
    Ok((users, nodes))
}

/// Prints the inventory of a tailnet.
pub async fn print(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet: &TailnetArg,
) -> Result<(), Failure> {
    let tailnet_id = tailnet.find(connection).await?.id;
    let users = users(connection, tailnet_id).await?;
    let logins: BTreeMap<_, _> = users
        .iter()
        .map(|user| (user.id, user.login_name.clone()))
        .collect();
    let user = |user: identity::User| ListedUser {
        role: role(user.role()).name().to_owned(),
        login_name: user.login_name,
        groups: user.groups,
    };
    let node = |node: bowline_proto::key_registry::v1::Node| ListedNode {
        user: logins
            .get(&node.user_id)
            .filter(|_| node.tags.is_empty())
            .cloned()
            .unwrap_or_default(),
        addresses: [&node.ipv4, &node.ipv6]
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect(),
        routes: node
            .advertised_routes
            .iter()
            .filter(|route| node.approved_routes.contains(route))
            .filter_map(|route| route.parse().ok())
            .collect(),
        name: node.name,
        tags: node.tags,
    };
    let listed = nodes(connection, tailnet_id)
        .await?
        .into_iter()
        .filter_map(|listed| listed.node);
    let inventory = Inventory {
        nodes: listed.map(node).collect(),
        users: users.into_iter().map(user).collect(),
    };
    let text = serde_json::to_string_pretty(&inventory);
    printer.write(&text.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?);
    Ok(())
}

fn role(role: identity::Role) -> Role {
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
