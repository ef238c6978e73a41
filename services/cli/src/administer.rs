//! Names of tailnets, users and nodes, as people write them.

use bowline_proto::{
    identity::v1::{
        ListTailnetsRequest, ListUsersRequest, Tailnet, User,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{ListNodesRequest, NodeWithState, node_service_client::NodeServiceClient},
};
use clap::Args;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, Kind},
};

/// Which tailnet is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct TailnetArg {
    /// The tailnet; the only one when not given.
    #[arg(long, env = "BOWLINE_TAILNET")]
    tailnet: Option<String>,
}

impl TailnetArg {
    /// Finds the tailnet.
    pub async fn find(&self, connection: &ConnectionArgs) -> Result<Tailnet, Failure> {
        let mut client = TailnetServiceClient::new(connection.identity()?);
        let tailnets = client
            .list_tailnets(ListTailnetsRequest {})
            .await?
            .into_inner()
            .tailnets;
        let names = || {
            tailnets
                .iter()
                .map(|t| t.name.clone())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match (&self.tailnet, tailnets.as_slice()) {
            (None, [only]) => Ok(only.clone()),
            (None, []) => {
                let text = "there is no tailnet yet: bowline tailnets create NAME";
                Err(Failure::new(Kind::NotFound, text))
            }
            (None, _) => {
                let text = format!(
                    "there are several tailnets ({}): say which with --tailnet",
                    names()
                );
                Err(Failure::new(Kind::Refused, text))
            }
            (Some(name), _) => {
                let found = tailnets
                    .iter()
                    .find(|t| t.name == *name || t.id.to_string() == *name);
                found.cloned().ok_or_else(|| {
                    let text = format!("there is no tailnet \"{name}\"; there are: {}", names());
                    Failure::new(Kind::NotFound, text)
                })
            }
        }
    }
}

/// Returns the users of a tailnet.
pub async fn users(connection: &ConnectionArgs, tailnet_id: u64) -> Result<Vec<User>, Failure> {
    let mut client = UserServiceClient::new(connection.identity()?);
    Ok(client
        .list_users(ListUsersRequest { tailnet_id })
        .await?
        .into_inner()
        .users)
}

/// Finds a user by login name or number.
pub async fn user(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    name: &str,
) -> Result<User, Failure> {
    let users = users(connection, tailnet_id).await?;
    let found = users
        .into_iter()
        .find(|user| user.login_name == name || user.id.to_string() == name);
    found.ok_or_else(|| {
        let text = format!("there is no user \"{name}\": bowline users list");
        Failure::new(Kind::NotFound, text)
    })
}

/// Returns the nodes of a tailnet.
pub async fn nodes(
    connection: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<Vec<NodeWithState>, Failure> {
    let client = NodeServiceClient::new(connection.registry()?);
    // A kilobyte or so for each node.
    let mut client = client.max_decoding_message_size(1 << 30);
    Ok(client
        .list_nodes(ListNodesRequest { tailnet_id })
        .await?
        .into_inner()
        .nodes)
}

/// Finds a node by name or number.
pub async fn node(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    name: &str,
) -> Result<NodeWithState, Failure> {
    let nodes = nodes(connection, tailnet_id).await?;
    let is_it = |listed: &NodeWithState| {
        listed
            .node
            .as_ref()
            .is_some_and(|node| node.name == name || node.id.to_string() == name)
    };
    nodes.into_iter().find(is_it).ok_or_else(|| {
        let text = format!("there is no node \"{name}\": bowline nodes list");
        Failure::new(Kind::NotFound, text)
    })
}
