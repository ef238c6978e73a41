//! `bowline policy check` and the inventory it runs a document's tests against: no server is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bowline_policy::{
    AttributeValue, DocumentVerdict, PolicyNode, PolicyUser, ReportedDevice, Role, check_document,
    login_name, tag_name,
};
use bowline_proto::identity::v1 as identity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{problems::DocumentFindings, read_document};
use crate::{
    administer::{TailnetArg, list_nodes, list_users},
    attributes::{attribute_json, known_attributes},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    groups::list_groups,
    output::Printer,
};

/// Users and nodes as the policy judges them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InventoryFile {
    /// The users.
    users: Vec<ListedUser>,
    /// The nodes.
    nodes: Vec<ListedNode>,
    /// The groups that there are, without `group:`; those that users are in need not be among them.
    #[serde(default)]
    groups: BTreeSet<String>,
}

/// A user.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedUser {
    login_name: String,
    /// As in `autogroup:`; a member when not given.
    #[serde(default)]
    role: String,
    /// Groups of the tailnet, without `group:`.
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
    /// What postures judge: `node:os`, `custom:tier`.
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
}

/// Prints what is wrong with a document, if anything is, and what there are warnings of.
pub fn check_file(
    printer: &Printer,
    file: &Path,
    inventory: Option<&Path>,
    strict: bool,
) -> Result<(), Failure> {
    let text = read_document(file)?;
    let known = inventory.map(load_inventory).transpose()?;
    let mut verdict = judge_document(&text, known.as_ref());
    if strict {
        verdict = verdict.refuse_warnings();
    }
    let findings = DocumentFindings::of(&verdict);
    findings.report_problems(printer, &file.display().to_string())?;
    let sentence = match inventory {
        Some(_) => "the policy is valid, and its tests pass",
        None => "the policy is valid (its tests need --inventory)",
    };
    printer.print_result(&findings.problems_json(), sentence);
    Ok(())
}

/// Judges a document.
fn judge_document(text: &str, known: Option<&KnownInventory>) -> DocumentVerdict {
    let inventory = known.map(|known| bowline_policy::Inventory {
        users: &known.users,
        nodes: &known.nodes,
        groups: &known.groups,
        in_force: None,
    });
    check_document(text, inventory)
}

/// An inventory as the policy judges it.
struct KnownInventory {
    users: BTreeMap<u64, PolicyUser>,
    nodes: BTreeMap<u64, PolicyNode>,
    /// With `group:`.
    groups: BTreeSet<String>,
}

fn load_inventory(file: &Path) -> Result<KnownInventory, Failure> {
    let wrong =
        |what: String| Failure::new(FailureKind::Failed, format!("{}: {what}", file.display()));
    let inventory: InventoryFile =
        serde_json::from_str(&read_document(file)?).map_err(|error| wrong(error.to_string()))?;
    let mut ids = BTreeMap::new();
    let mut users = BTreeMap::new();
    for (id, user) in (1..).zip(inventory.users) {
        let role = match &*user.role {
            "" => Role::Member,
            name => Role::with_name(name).ok_or_else(|| wrong(format!("\"{name}\" is no role")))?,
        };
        let user = PolicyUser::new(id, &user.login_name, role, &user.groups);
        ids.insert(user.login_name.clone(), id);
        users.insert(id, user);
    }
    let mut nodes = BTreeMap::new();
    for (id, listed) in (1..).zip(inventory.nodes) {
        let user = match &*listed.user {
            "" => 0,
            name => *ids.get(&login_name(name)).ok_or_else(|| {
                wrong(format!(
                    "node \"{}\": there is no user \"{name}\" under users",
                    listed.name
                ))
            })?,
        };
        let mut node = PolicyNode {
            id,
            user,
            tags: listed.tags.iter().map(|tag| tag_name(tag)).collect(),
            usable_routes: listed.routes,
            ..PolicyNode::default()
        };
        for (name, value) in listed.attributes {
            let value = read_attribute(&value).ok_or_else(|| {
                let text = "is a text, a number, true or false";
                wrong(format!(
                    "node \"{}\": attribute \"{name}\" {text}",
                    listed.name
                ))
            })?;
            node.attributes.insert(name, value);
        }
        for address in listed.addresses {
            match address {
                std::net::IpAddr::V4(address) => node.ipv4 = Some(address),
                std::net::IpAddr::V6(address) => node.ipv6 = Some(address),
            }
        }
        nodes.insert(id, node);
    }
    let groups = inventory.groups.iter();
    Ok(KnownInventory {
        users,
        nodes,
        groups: groups.map(|name| format!("group:{name}")).collect(),
    })
}

fn read_attribute(value: &Value) -> Option<AttributeValue> {
    match value {
        Value::String(text) => Some(AttributeValue::Text(text.clone())),
        Value::Number(number) => number.as_f64().map(AttributeValue::Number),
        Value::Bool(is) => Some(AttributeValue::Bool(*is)),
        _ => None,
    }
}

/// Prints the inventory of a tailnet.
pub async fn print_inventory(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet: &TailnetArg,
) -> Result<(), Failure> {
    let tailnet_id = tailnet.find_id(connection).await?;
    let users = list_users(connection, tailnet_id).await?;
    let logins: BTreeMap<_, _> = users
        .iter()
        .map(|user| (user.id, user.login_name.clone()))
        .collect();
    let user = |user: identity::User| ListedUser {
        role: convert_role(user.role()).name().to_owned(),
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
            .usable_routes()
            .filter_map(|route| route.parse().ok())
            .collect(),
        attributes: {
            let device = ReportedDevice {
                os: &node.os,
                os_version: &node.os_version,
                client_version: &node.client_version,
                auto_update: node.auto_update,
                state_encrypted: node.state_encrypted,
            };
            let known = known_attributes(device, &node.attributes).into_iter();
            known
                .map(|(name, value)| (name, attribute_json(value)))
                .collect()
        },
        name: node.name,
        tags: node.tags,
    };
    let listed = list_nodes(connection, tailnet_id)
        .await?
        .into_iter()
        .filter_map(|listed| listed.node);
    let groups = list_groups(connection, tailnet_id).await?.into_iter();
    let groups = groups.filter_map(|listed| Some(listed.group?.name));
    let inventory = InventoryFile {
        groups: groups.collect(),
        nodes: listed.map(node).collect(),
        users: users.into_iter().map(user).collect(),
    };
    let text = serde_json::to_string_pretty(&inventory);
    printer
        .write_stdout(&text.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?);
    Ok(())
}

fn convert_role(role: identity::Role) -> Role {
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

#[cfg(test)]
mod tests;
