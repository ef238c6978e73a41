//! `bowline nodes`.

mod row;

use std::collections::BTreeMap;

use bowline_proto::key_registry::v1::{
    ApproveNodeRequest, DeleteNodeRequest, DenyNodeRequest, DisableNodeRequest, EnableNodeRequest,
    ExpireNodeRequest, Node, NodeWithState, RenameNodeRequest, Revocation,
    SetApprovedRoutesRequest, SetNodeExpiryRequest, SetTagsRequest,
    node_service_client::NodeServiceClient, set_node_expiry_request::Expiry,
};
use bowline_proto::{identity::v1::User, time::to_timestamp};
use bowline_service_kit::GrpcChannel;
use chrono::DateTime;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::Printer,
    revocation, time,
};
use row::NodeRow;

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
    /// Keep a node out until it is enabled, whatever key it comes with; key, name and addresses stay.
    Disable(NodeArgs),
    /// Let a node in again that was disabled.
    Enable(NodeArgs),
    /// Say when a node's key ends. A key that has ended stays so.
    SetExpiry {
        #[command(flatten)]
        target: NodeArgs,
        /// never, a duration from now such as 90d, a time such as 2030-01-31T12:00:00Z, or policy: as the key policy says. Keys
        /// of a tagged node end at a time only where an interval of rotation is set for it.
        #[arg(value_parser = parse_expiry, required_unless_present = "every")]
        expiry: Option<Expiry>,
        /// How often the node's keys have to be replaced, such as 30d, whatever the key policy says.
        #[arg(long, value_parser = parse_interval, conflicts_with = "expiry")]
        every: Option<Expiry>,
    },
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
    /// Approve a machine that waits, or that was denied: that one has to log in again.
    Approve(NodeArgs),
    /// Turn away a machine that waits for approval: it is refused until it is approved or deleted.
    Deny(NodeArgs),
}

/// Reads when a key is to end.
fn parse_expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never(true));
    }
    if text == "policy" {
        return Ok(Expiry::ByPolicy(true));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Expiry::At(to_timestamp(time.to_utc())));
    }
    let after = time::parse_duration(text).map_err(|problem| {
        format!("{problem}, nor never, nor policy, nor a time such as 2030-01-31T12:00:00Z")
    })?;
    Ok(Expiry::After(time::whole_seconds(after)))
}

fn parse_interval(text: &str) -> Result<Expiry, String> {
    Ok(Expiry::Every(time::whole_seconds(time::parse_duration(
        text,
    )?)))
}

/// Runs a command.
pub async fn run(
    command: NodesCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        NodesCommand::List { tailnet } => print_nodes(connection, printer, &tailnet).await,
        NodesCommand::Show(target) => {
            let (tailnet_id, listed) = find_target(connection, &target).await?;
            let users = users_by_id(connection, tailnet_id).await?;
            printer.print_row(&NodeRow::new(listed, &users)?);
            Ok(())
        }
        NodesCommand::Expire(target) => {
            end_node(NodeEnd::Expired, target, connection, printer).await
        }
        NodesCommand::Delete(target) => {
            end_node(NodeEnd::Deleted, target, connection, printer).await
        }
        NodesCommand::Disable(target) => {
            end_node(NodeEnd::Disabled, target, connection, printer).await
        }
        NodesCommand::Deny(target) => end_node(NodeEnd::Denied, target, connection, printer).await,
        NodesCommand::Rename { target, name } => {
            change_node(NodeChange::Name(name), target, connection, printer).await
        }
        NodesCommand::Tag { target, tags } => {
            change_node(NodeChange::Tags(tags), target, connection, printer).await
        }
        NodesCommand::ApproveRoutes { target, routes } => {
            change_node(
                NodeChange::ApprovedRoutes(routes),
                target,
                connection,
                printer,
            )
            .await
        }
        NodesCommand::SetExpiry {
            target,
            expiry,
            every,
        } => {
            let change = NodeChange::Expiry(expiry.or(every));
            change_node(change, target, connection, printer).await
        }
        NodesCommand::Approve(target) => {
            change_node(NodeChange::Approval, target, connection, printer).await
        }
        NodesCommand::Enable(target) => {
            change_node(NodeChange::Enabling, target, connection, printer).await
        }
    }
}

/// What keeps a node out.
enum NodeEnd {
    Expired,
    Deleted,
    Disabled,
    Denied,
}

/// Keeps a node out, and says how that has reached the gateways.
async fn end_node(
    end: NodeEnd,
    target: NodeArgs,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = node_service(connection)?;
    let (tailnet_id, node_id) = target_ids(connection, &target).await?;
    let (what, revocation) = match end {
        NodeEnd::Expired => {
            let request = ExpireNodeRequest {
                tailnet_id,
                node_id,
            };
            let answer = client.expire_node(request).await?.into_inner();
            ("key has ended", answer.revocation)
        }
        NodeEnd::Deleted => {
            let request = DeleteNodeRequest {
                tailnet_id,
                node_id,
            };
            let answer = client.delete_node(request).await?.into_inner();
            ("is deleted", answer.revocation)
        }
        NodeEnd::Disabled => {
            let request = DisableNodeRequest {
                tailnet_id,
                node_id,
            };
            let answer = client.disable_node(request).await?.into_inner();
            ("is disabled", answer.revocation)
        }
        NodeEnd::Denied => {
            let request = DenyNodeRequest {
                tailnet_id,
                node_id,
            };
            let answer = client.deny_node(request).await?.into_inner();
            ("is denied", answer.revocation)
        }
    };
    print_revocation(printer, &target.node, what, revocation);
    Ok(())
}

/// What an administrator changes of a node.
enum NodeChange {
    Name(String),
    Tags(Vec<String>),
    ApprovedRoutes(Vec<String>),
    Expiry(Option<Expiry>),
    Approval,
    Enabling,
}

/// Changes a node, and shows it as it is then.
async fn change_node(
    change: NodeChange,
    target: NodeArgs,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = node_service(connection)?;
    let (tailnet_id, node_id) = target_ids(connection, &target).await?;
    let changed = match change {
        NodeChange::Name(name) => {
            let request = RenameNodeRequest {
                tailnet_id,
                node_id,
                name,
            };
            client.rename_node(request).await?.into_inner().node
        }
        NodeChange::Tags(tags) => {
            let request = SetTagsRequest {
                tailnet_id,
                node_id,
                tags,
            };
            client.set_tags(request).await?.into_inner().node
        }
        NodeChange::ApprovedRoutes(routes) => {
            let request = SetApprovedRoutesRequest {
                tailnet_id,
                node_id,
                routes,
            };
            client.set_approved_routes(request).await?.into_inner().node
        }
        NodeChange::Expiry(expiry) => {
            let request = SetNodeExpiryRequest {
                tailnet_id,
                node_id,
                expiry,
            };
            client.set_node_expiry(request).await?.into_inner().node
        }
        NodeChange::Approval => {
            let request = ApproveNodeRequest {
                tailnet_id,
                node_id,
            };
            client.approve_node(request).await?.into_inner().node
        }
        NodeChange::Enabling => {
            let request = EnableNodeRequest {
                tailnet_id,
                node_id,
            };
            client.enable_node(request).await?.into_inner().node
        }
    };
    print_node(connection, printer, require_field(changed, "node")?).await
}

fn node_service(connection: &ConnectionArgs) -> Result<NodeServiceClient<GrpcChannel>, Failure> {
    Ok(NodeServiceClient::new(connection.connect_to_registry()?))
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

#[cfg(test)]
mod tests;
