//! Whether a relay may serve a node. It is decided here for the relays of this deployment and for those of others.
//!
//! The registry says whether the node takes part in its tailnet, identity whether its user is suspended or gone. While
//! identity can not be asked, what was known of the user last counts: the last answer that came here, and what the caller
//! knows besides. Of whom nothing is known, nothing is held against. While the registry can not be asked, nothing is
//! decided.

use std::collections::BTreeSet;
use std::time::Duration;

use bowline_proto::identity::v1::{
    ResolveUserRequest, identity_service_client::IdentityServiceClient,
};
use bowline_proto::key_registry::v1::{
    Node, ResolveNodeRequest, key_registry_service_client::KeyRegistryServiceClient,
};
use parking_lot::Mutex;
use tonic::{Code, Request, Status};

use crate::GrpcChannel;

/// How long identity is waited for: relays wait some seconds for the whole answer.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a relay may serve a node.
#[derive(Debug)]
pub enum RelayPermit {
    /// It may; the node as the registry has it.
    Granted(Box<Node>),
    /// It may not: nobody has the key, or the node does not take part in its tailnet.
    Refused,
    /// The registry can not be asked.
    Unknown(Status),
}

/// What identity says of a node's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserStanding {
    Good,
    SuspendedOrGone,
    /// It can not be asked.
    Unknown,
}

/// Asks the registry and identity whom a relay may serve.
#[derive(Debug)]
pub struct RelayPermits {
    registry: GrpcChannel,
    identity: GrpcChannel,
    /// The users, with their tailnets, that were suspended or gone at identity's last answer.
    barred: Mutex<BTreeSet<(u64, u64)>>,
}

impl RelayPermits {
    /// Returns permits by these services.
    #[must_use]
    pub fn new(registry: GrpcChannel, identity: GrpcChannel) -> Self {
        Self {
            registry,
            identity,
            barred: Mutex::default(),
        }
    }

    /// Asks for the node with this key. `is_known_barred` is asked while identity is away: whether the caller knows from
    /// elsewhere that the node's user is suspended or gone.
    pub async fn ask_permit(
        &self,
        node_key: &[u8],
        is_known_barred: impl FnOnce(&Node) -> bool,
    ) -> RelayPermit {
        let mut client = KeyRegistryServiceClient::new(self.registry.clone());
        let question = ResolveNodeRequest {
            node_key: node_key.to_vec(),
            ..ResolveNodeRequest::default()
        };
        let node = match client.resolve_node(question).await {
            Ok(answer) => match answer.into_inner().node {
                Some(node) => node,
                // A node had the key, and has it no more.
                None => return RelayPermit::Refused,
            },
            Err(status) if status.code() == Code::NotFound => return RelayPermit::Refused,
            Err(status) => return RelayPermit::Unknown(status),
        };
        // Nobody is asked about a user on whom nothing depends.
        if !node.goes_with_user() || !node.may_take_part(false) {
            return decide_permit(node, UserStanding::Unknown, false);
        }
        let user = (node.tailnet_id, node.user_id);
        let standing = self.ask_standing(&node).await;
        self.note_standing(user, standing);
        // What was known last counts only while identity can not be asked.
        let was_barred = standing == UserStanding::Unknown
            && (self.barred.lock().contains(&user) || is_known_barred(&node));
        decide_permit(node, standing, was_barred)
    }

    /// Remembers what identity says of a user of a tailnet; that it can not be asked changes nothing.
    fn note_standing(&self, user: (u64, u64), standing: UserStanding) {
        match standing {
            UserStanding::Good => self.barred.lock().remove(&user),
            UserStanding::SuspendedOrGone => self.barred.lock().insert(user),
            UserStanding::Unknown => false,
        };
    }

    async fn ask_standing(&self, node: &Node) -> UserStanding {
        let mut question = Request::new(ResolveUserRequest {
            tailnet_id: node.tailnet_id,
            user_id: node.user_id,
        });
        question.set_timeout(IDENTITY_TIMEOUT);
        let mut client = IdentityServiceClient::new(self.identity.clone());
        match client.resolve_user(question).await {
            Ok(answer) => match answer.into_inner().user {
                Some(user) if !user.suspended => UserStanding::Good,
                _ => UserStanding::SuspendedOrGone,
            },
            Err(status) if status.code() == Code::NotFound => UserStanding::SuspendedOrGone,
            Err(_) => UserStanding::Unknown,
        }
    }
}

/// Decides about a node that the registry knows. `was_barred` says whether its user was suspended or gone when it was
/// heard of last; that counts while identity can not be asked.
fn decide_permit(node: Node, standing: UserStanding, was_barred: bool) -> RelayPermit {
    let is_barred = match standing {
        UserStanding::Good => false,
        UserStanding::SuspendedOrGone => true,
        UserStanding::Unknown => was_barred,
    };
    match node.may_take_part(is_barred) {
        true => RelayPermit::Granted(Box::new(node)),
        false => RelayPermit::Refused,
    }
}

#[cfg(test)]
mod tests;
