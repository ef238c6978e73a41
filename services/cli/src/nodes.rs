//! `bowline nodes`.

use std::collections::BTreeMap;

use bowline_keys::{MachinePublic, NodePublic};
use bowline_proto::identity::v1::User;
use bowline_proto::key_registry::v1::{
    ApproveNodeRequest, DeleteNodeRequest, ExpireNodeRequest, Node, NodeWithState,
    RenameNodeRequest, Revocation, SetApprovedRoutesRequest, SetTagsRequest, TaggedBy,
    node_service_client::NodeServiceClient,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row, join_texts, key_text, yes_mark},
    revocation, time,
};

/// A node, by name or number.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's name or number.
    node: String,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Show one.
    Show(NodeArgs),
    /// End a node's key: it has to log in again.
    Expire(NodeArgs),
    /// Delete a node.
    Delete(NodeArgs),
    /// Give a node a name; without one it follows its hostname again.
    Rename {
        #[command(flatten)]
        target: NodeArgs,
        /// The name.
        #[arg(default_value = "")]
        name: String,
    },
    /// Replace a node's tags, or confirm those it has: it belongs to no user then, and is not suspended with one.
    Tag {
        #[command(flatten)]
        target: NodeArgs,
        /// Such as tag:web.
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Replace a node's approved routes.
    ApproveRoutes {
        #[command(flatten)]
        target: NodeArgs,
        /// Such as 10.0.0.0/8; 0.0.0.0/0 or ::/0 for an exit node, which needs both and gets both; none to withdraw all.
        routes: Vec<String>,
    },
    /// Approve a machine that waits.
    Approve(NodeArgs),
}

/// A node as shown.
#[derive(Debug, Serialize)]
struct NodeRow {
    id: u64,
    name: String,
    user: String,
    user_suspended: bool,
    tags: Vec<String>,
    ipv4: String,
    ipv6: String,
    online: bool,
    last_seen: Option<String>,
    key_expiry: Option<String>,
    expired: bool,
    approved: bool,
    ephemeral: bool,
    advertised_routes: Vec<String>,
    approved_routes: Vec<String>,
    primary_routes: Vec<String>,
    /// What it offers and nobody has approved.
    pending_routes: Vec<String>,
    /// Whether it is an exit node: it offers both exit routes, and both are approved.
    exit_node: bool,
    /// Who gave it its tags: user, pre_auth_key or administrator; empty without tags, or where that is not known.
    tagged_by: &'static str,
    /// Other nodes that are on another machine with the same machine key.
    shares_machine_with: Vec<u64>,
    os: String,
    client_version: String,
    node_key: String,
    machine_key: String,
    /// When two machines were last seen to use its key; null when nobody else does.
    key_shared_at: Option<String>,
    created_at: Option<String>,
}

/// The head of a column that is empty unless a disk was copied.
const SHARES_MACHINE_KEY: &str = "shares machine key with";

/// What an exit node offers.
const EXIT_ROUTES: [&str; 2] = ["0.0.0.0/0", "::/0"];

impl NodeRow {
    fn new(listed: NodeWithState, users: &BTreeMap<u64, User>) -> Result<Self, Failure> {
        let node = require_field(listed.node, "node")?;
        // A node has no soft state until its first report.
        let soft = listed.soft.unwrap_or_default();
        // A node of a user who is gone is cut off like one of a user who is suspended.
        let user = users.get(&node.user_id);
        let is_barred = user.is_none_or(|user| user.suspended);
        let login_name = user.map_or_else(String::new, |user| user.login_name.clone());
        let is_exit = |routes: &[String]| {
            EXIT_ROUTES
                .iter()
                .all(|exit| routes.iter().any(|route| route == exit))
        };
        let offered = &node.advertised_routes;
        let pending = offered
            .iter()
            .filter(|route| !node.approved_routes.contains(route));
        let shared_key = node.shared_key.clone();
        let shared_key = shared_key.filter(|shared| shared.node_key == node.node_key);
        Ok(Self {
            id: node.id,
            key_shared_at: time::time_text(shared_key.and_then(|shared| shared.seen_at)),
            user_suspended: node.goes_with_user() && is_barred,
            pending_routes: pending.cloned().collect(),
            exit_node: is_exit(offered) && is_exit(&node.approved_routes),
            tagged_by: match node.tagged_by() {
                TaggedBy::Unspecified => "",
                TaggedBy::User => "user",
                TaggedBy::PreAuthKey => "pre_auth_key",
                TaggedBy::Administrator => "administrator",
            },
            shares_machine_with: listed.shares_machine_with,
            user: login_name,
            online: soft.online,
            last_seen: time::time_text(soft.last_seen),
            key_expiry: time::time_text(node.key_expiry),
            created_at: time::time_text(node.created_at),
            node_key: key_text(NodePublic::try_from(&*node.node_key)),
            machine_key: key_text(MachinePublic::try_from(&*node.machine_key)),
            name: node.name,
            tags: node.tags,
            ipv4: node.ipv4,
            ipv6: node.ipv6,
            expired: node.expired,
            approved: node.approved,
            ephemeral: node.ephemeral,
            advertised_routes: node.advertised_routes,
            approved_routes: node.approved_routes,
            primary_routes: node.primary_routes,
            os: node.os,
            client_version: node.client_version,
        })
    }

    /// Says whether it is an exit node, or waits to be one.
    fn exit_state(&self) -> &'static str {
        let is_pending = |exit: &&str| self.pending_routes.iter().any(|route| route == exit);
        if self.exit_node {
            "yes"
        } else if EXIT_ROUTES.iter().any(is_pending) {
            "pending"
        } else {
            ""
        }
    }

    fn node_state(&self) -> &'static str {
        match self {
            Self {
                approved: false, ..
            } => "waits for approval",
            Self { expired: true, .. } => "expired",
            Self {
                user_suspended: true,
                ..
            } => "user suspended",
            Self { online: true, .. } => "online",
            _ => "offline",
        }
    }
}

impl Row for NodeRow {
    const HEADS: &'static [&'static str] = &[
        "id",
        "name",
        "owner",
        "ipv4",
        "ipv6",
        "state",
        "last seen",
        "routes",
        "pending routes",
        "exit node",
        "ephemeral",
        SHARES_MACHINE_KEY,
    ];
    const RARE: &'static [&'static str] = &[SHARES_MACHINE_KEY];

    fn table_cells(&self) -> Vec<String> {
        let owner = if self.tags.is_empty() {
            self.user.clone()
        } else {
            join_texts(&self.tags)
        };
        let others: Vec<_> = self
            .shares_machine_with
            .iter()
            .map(u64::to_string)
            .collect();
        vec![
            self.id.to_string(),
            self.name.clone(),
            owner,
            self.ipv4.clone(),
            self.ipv6.clone(),
            self.node_state().to_owned(),
            self.last_seen.clone().unwrap_or_default(),
            join_texts(&self.approved_routes),
            join_texts(&self.pending_routes),
            self.exit_state().to_owned(),
            yes_mark(self.ephemeral),
            join_texts(&others),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: NodesCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = NodeServiceClient::new(connection.connect_to_registry()?);
    let changed = match command {
        NodesCommand::List { tailnet } => return print_nodes(connection, printer, &tailnet).await,
        NodesCommand::Show(target) => {
            let (tailnet_id, listed) = find_target(connection, &target).await?;
            let users = users_by_id(connection, tailnet_id).await?;
            printer.print_row(&NodeRow::new(listed, &users)?);
            return Ok(());
        }
        NodesCommand::Expire(target) => {
            let (tailnet_id, node_id) = target_ids(connection, &target).await?;
            let request = ExpireNodeRequest {
                tailnet_id,
                node_id,
            };
            let answer = client.expire_node(request).await?.into_inner();
            print_revocation(printer, &target.node, "key has ended", answer.revocation);
            return Ok(());
        }
        NodesCommand::Delete(target) => {
            let (tailnet_id, node_id) = target_ids(connection, &target).await?;
            let request = DeleteNodeRequest {
                tailnet_id,
                node_id,
            };
            let answer = client.delete_node(request).await?.into_inner();
            print_revocation(printer, &target.node, "is deleted", answer.revocation);
            return Ok(());
        }
        NodesCommand::Rename { target, name } => {
            let (tailnet_id, node_id) = target_ids(connection, &target).await?;
            let request = RenameNodeRequest {
                tailnet_id,
                node_id,
                name,
            };
            client.rename_node(request).await?.into_inner().node
        }
        NodesCommand::Tag { target, tags } => {
            let (tailnet_id, node_id) = target_ids(connection, &target).await?;
            let request = SetTagsRequest {
                tailnet_id,
                node_id,
                tags,
            };
            client.set_tags(request).await?.into_inner().node
        }
        NodesCommand::ApproveRoutes { target, routes } => {
            let (tailnet_id, node_id) = target_ids(connection, &target).await?;
            let request = SetApprovedRoutesRequest {
                tailnet_id,
                node_id,
                routes,
            };
            client.set_approved_routes(request).await?.into_inner().node
        }
        NodesCommand::Approve(target) => {
            let (tailnet_id, node_id) = target_ids(connection, &target).await?;
            client
                .approve_node(ApproveNodeRequest {
                    tailnet_id,
                    node_id,
                })
                .await?
                .into_inner()
                .node
        }
    };
    print_node(connection, printer, require_field(changed, "node")?).await
}

async fn print_nodes(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet: &TailnetArg,
) -> Result<(), Failure> {
    let tailnet_id = tailnet.find_id(connection).await?;
    let users = users_by_id(connection, tailnet_id).await?;
    let nodes = administer::list_nodes(connection, tailnet_id).await?;
    let rows = nodes
        .into_iter()
        .map(|node| NodeRow::new(node, &users))
        .collect::<Result<Vec<_>, _>>()?;
    printer.print_rows(&rows);
    Ok(())
}

async fn print_node(
    connection: &ConnectionArgs,
    printer: &Printer,
    node: Node,
) -> Result<(), Failure> {
    let users = users_by_id(connection, node.tailnet_id).await?;
    let listed = administer::find_node(connection, node.tailnet_id, &node.id.to_string()).await?;
    printer.print_row(&NodeRow::new(
        NodeWithState {
            node: Some(node),
            ..listed
        },
        &users,
    )?);
    Ok(())
}

async fn find_target(
    connection: &ConnectionArgs,
    target: &NodeArgs,
) -> Result<(u64, NodeWithState), Failure> {
    let tailnet_id = target.tailnet.find_id(connection).await?;
    let listed = administer::find_node(connection, tailnet_id, &target.node).await?;
    Ok((tailnet_id, listed))
}

async fn target_ids(connection: &ConnectionArgs, target: &NodeArgs) -> Result<(u64, u64), Failure> {
    let (tailnet, listed) = find_target(connection, target).await?;
    Ok((tailnet, require_field(listed.node, "node")?.id))
}

async fn users_by_id(
    connection: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<BTreeMap<u64, User>, Failure> {
    let users = administer::list_users(connection, tailnet_id).await?;
    Ok(users.into_iter().map(|user| (user.id, user)).collect())
}

/// Says what has ended of a node, and how that has reached the gateways.
fn print_revocation(printer: &Printer, node: &str, what: &str, revocation: Option<Revocation>) {
    let text = format!("{node} {what}");
    revocation::print_with_receipt(printer, json!({ "node": node }), text, revocation);
}
