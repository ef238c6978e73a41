//! Names of tailnets, users and nodes, as people write them.

use bowline_proto::{
    identity::v1::{
        ListTailnetsRequest, ListUsersRequest, ResolveTailnetRequest, Tailnet, User,
        identity_service_client::IdentityServiceClient,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ListNodesRequest, Node, NodeWithState, node_service_client::NodeServiceClient,
    },
};
use clap::Args;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
};

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 1 << 30;

/// Which tailnet is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct TailnetArg {
    /// The tailnet; the only one when not given.
    #[arg(long, env = "BOWLINE_TAILNET")]
    tailnet: Option<String>,
}

impl TailnetArg {
    /// Returns a choice made otherwise than by the option.
    pub fn new(tailnet: Option<String>) -> Self {
        Self { tailnet }
    }

    /// Returns the name or number that was given.
    pub fn name(&self) -> Option<&str> {
        self.tailnet.as_deref()
    }

    /// Finds the tailnet.
    pub async fn find_tailnet(&self, connection: &ConnectionArgs) -> Result<Tailnet, Failure> {
        if connection.is_by_token() {
            return self.check_own_tailnet(connection).await;
        }
        let tailnets = list_tailnets(connection).await?;
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
                Err(Failure::new(FailureKind::NotFound, text))
            }
            (None, _) => {
                let text = format!(
                    "there are several tailnets ({}): say which with --tailnet",
                    names()
                );
                Err(Failure::new(FailureKind::Refused, text))
            }
            (Some(name), _) => {
                let called = tailnets.iter().map(|t| (t.name.as_str(), t.id, t));
                let found = pick_one("tailnet", name, called)?;
                found.cloned().ok_or_else(|| {
                    let text = format!("there is no tailnet \"{name}\"; there are: {}", names());
                    Failure::new(FailureKind::NotFound, text)
                })
            }
        }
    }
}

impl TailnetArg {
    /// Finds the id of the tailnet. While identity can not be asked, `--tailnet NUMBER` is believed, so that operators end
    /// keys and change policies all the same.
    pub async fn find_id(&self, connection: &ConnectionArgs) -> Result<u64, Failure> {
        let number = self.tailnet.as_deref().and_then(|name| name.parse().ok());
        match (self.find_tailnet(connection).await, number) {
            (Ok(tailnet), _) => Ok(tailnet.id),
            (Err(failure), Some(id)) if failure.kind() == FailureKind::Unavailable => Ok(id),
            (Err(failure), _) => Err(failure),
        }
    }

    /// Returns the tailnet of the token: none other can be meant.
    async fn check_own_tailnet(&self, connection: &ConnectionArgs) -> Result<Tailnet, Failure> {
        let mut client = IdentityServiceClient::new(connection.connect_to_identity()?);
        let answer = client.resolve_tailnet(ResolveTailnetRequest::default());
        let own = require_field(answer.await?.into_inner().tailnet, "tailnet")?;
        match &self.tailnet {
            Some(name) if *name != own.name && *name != own.id.to_string() => {
                let text = format!("the token is for the tailnet \"{}\" alone", own.name);
                Err(Failure::new(FailureKind::NotFound, text))
            }
            _ => Ok(own),
        }
    }
}

/// Returns all tailnets, without their key policies.
pub async fn list_tailnets(connection: &ConnectionArgs) -> Result<Vec<Tailnet>, Failure> {
    let mut client = TailnetServiceClient::new(connection.connect_to_identity()?)
        .max_decoding_message_size(LONGEST_ANSWER);
    let listed = client.list_tailnets(ListTailnetsRequest {}).await?;
    Ok(listed.into_inner().tailnets)
}

/// Returns a tailnet with its key policy.
pub async fn resolve_tailnet(
    connection: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<Tailnet, Failure> {
    let mut client = IdentityServiceClient::new(connection.connect_to_identity()?);
    let request = ResolveTailnetRequest {
        tailnet_id,
        ..ResolveTailnetRequest::default()
    };
    let answer = client.resolve_tailnet(request).await?;
    require_field(answer.into_inner().tailnet, "tailnet")
}

/// Returns the users of a tailnet.
pub async fn list_users(
    connection: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<Vec<User>, Failure> {
    let mut client = UserServiceClient::new(connection.connect_to_identity()?);
    Ok(client
        .list_users(ListUsersRequest {
            tailnet_id,
            ..ListUsersRequest::default()
        })
        .await?
        .into_inner()
        .users)
}

/// Finds a user by login name or number; a login name may be written in another case.
pub async fn find_user(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    name: &str,
) -> Result<User, Failure> {
    let users = list_users(connection, tailnet_id).await?;
    let called = users.iter().map(|u| (u.login_name.as_str(), u.id, u));
    let found = match pick_one("user", name, called)? {
        Some(user) => Some(user),
        None => only_named_alike(&users, name)?,
    };
    found.cloned().ok_or_else(|| {
        let text = format!("there is no user \"{name}\": bowline users list");
        Failure::new(FailureKind::NotFound, text)
    })
}

/// Finds the user whose login name differs from `name` in case only; refuses when there are several, as tailnets from
/// before names were folded may have.
fn only_named_alike<'a>(users: &'a [User], name: &str) -> Result<Option<&'a User>, Failure> {
    let folded = name.to_lowercase();
    let mut alike = users
        .iter()
        .filter(|user| user.login_name.to_lowercase() == folded);
    match (alike.next(), alike.next()) {
        (Some(one), Some(other)) => {
            let text = format!(
                "\"{name}\" may be {} or {}: write it as the one that is meant",
                one.login_name, other.login_name
            );
            Err(Failure::new(FailureKind::Refused, text))
        }
        (first, _) => Ok(first),
    }
}

/// Returns the nodes that a user has, or has added.
pub async fn list_nodes_of(connection: &ConnectionArgs, user: &User) -> Result<Vec<Node>, Failure> {
    let request = ListNodesRequest {
        tailnet_id: user.tailnet_id,
        user_id: user.id,
        awaits_approval: false,
    };
    let mut client = NodeServiceClient::new(connection.connect_to_registry()?)
        .max_decoding_message_size(LONGEST_ANSWER);
    let found = client.list_nodes(request).await?.into_inner().nodes;
    Ok(found.into_iter().filter_map(|listed| listed.node).collect())
}

/// Returns the nodes of a tailnet.
pub async fn list_nodes(
    connection: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<Vec<NodeWithState>, Failure> {
    let client = NodeServiceClient::new(connection.connect_to_registry()?);
    // A kilobyte or so for each node.
    let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
    Ok(client
        .list_nodes(ListNodesRequest {
            tailnet_id,
            ..ListNodesRequest::default()
        })
        .await?
        .into_inner()
        .nodes)
}

/// Finds a node by name or number.
pub async fn find_node(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    name: &str,
) -> Result<NodeWithState, Failure> {
    let nodes = list_nodes(connection, tailnet_id).await?;
    let called = nodes.iter().filter_map(|listed| {
        let node = listed.node.as_ref()?;
        Some((node.name.as_str(), node.id, listed))
    });
    pick_one("node", name, called)?.cloned().ok_or_else(|| {
        let text = format!("there is no node \"{name}\": bowline nodes list");
        Failure::new(FailureKind::NotFound, text)
    })
}

/// Finds what has this name or number; refuses when one has the name and another the number.
pub fn pick_one<'a, T>(
    what: &str,
    wanted: &str,
    called: impl Iterator<Item = (&'a str, u64, T)>,
) -> Result<Option<T>, Failure> {
    let mut found = called.filter(|(name, id, _)| *name == wanted || id.to_string() == wanted);
    match (found.next(), found.next()) {
        (Some((name, id, _)), Some((other, other_id, _))) => {
            let text = format!(
                "\"{wanted}\" is both a name and a number: {what} number {id} is called \"{name}\", number {other_id} \"{other}\"; give the one's number or the other's name, or rename one"
            );
            Err(Failure::new(FailureKind::Refused, text))
        }
        (first, _) => Ok(first.map(|(.., it)| it)),
    }
}

#[cfg(test)]
mod tests;
