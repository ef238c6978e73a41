//! Whom the relay serves: nodes that the registry knows, of users whom identity does not hold suspended.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bowline_ids::TailnetId;
use bowline_keys::NodePublic;
use bowline_proto::{
    identity::v1::{ResolveUserRequest, identity_service_client::IdentityServiceClient},
    key_registry::v1::{
        Node, ResolveNodeRequest, key_registry_service_client::KeyRegistryServiceClient,
    },
};
use bowline_relay::{AdmissionVerdict, AdmittedNode, NodeAdmission};
use bowline_service_kit::GrpcChannel;
use tonic::{Code, Request};

/// How long identity is waited for: the relay waits 5 s for the whole verdict.
const IDENTITY_PATIENCE: Duration = Duration::from_secs(2);

/// Asks the registry about a node's key, then identity about the node's user.
///
/// While identity can not be asked, a node that the registry knows is served, unless its user was suspended or gone
/// at the last answer.
#[derive(Debug)]
pub(crate) struct RegistryAdmission {
    registry: GrpcChannel,
    identity: GrpcChannel,
    /// The users that were suspended or gone at identity's last answer.
    barred: Mutex<BTreeSet<u64>>,
}

impl RegistryAdmission {
    /// Returns an admission that asks these services.
    pub(crate) fn new(registry: GrpcChannel, identity: GrpcChannel) -> Self {
        Self {
            registry,
            identity,
            barred: Mutex::default(),
        }
    }

    async fn is_barred(&self, node: &Node) -> bool {
        let mut question = Request::new(ResolveUserRequest {
            tailnet_id: node.tailnet_id,
            user_id: node.user_id,
        });
        question.set_timeout(IDENTITY_PATIENCE);
        let mut client = IdentityServiceClient::new(self.identity.clone());
        let is_barred = match client.resolve_user(question).await {
            Ok(answer) => answer.into_inner().user.is_none_or(|user| user.suspended),
            Err(status) if status.code() == Code::NotFound => true,
            Err(_) => return self.barred().contains(&node.user_id),
        };
        let mut barred = self.barred();
        if is_barred {
            barred.insert(node.user_id);
        } else {
            barred.remove(&node.user_id);
        }
        is_barred
    }

    fn barred(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.barred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl NodeAdmission for RegistryAdmission {
    async fn judge_node(&self, node: NodePublic, _: IpAddr) -> AdmissionVerdict {
        let mut client = KeyRegistryServiceClient::new(self.registry.clone());
        let question = ResolveNodeRequest {
            node_key: node.as_bytes().to_vec(),
        };
        let node = match client.resolve_node(question).await {
            Ok(answer) => answer.into_inner().node.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => return AdmissionVerdict::Refused,
            Err(_) => return AdmissionVerdict::Unknown,
        };
        let Ok(tailnet) = TailnetId::try_from(node.tailnet_id) else {
            return AdmissionVerdict::Refused;
        };
        let is_barred = node.goes_with_user() && self.is_barred(&node).await;
        if !node.may_take_part(is_barred) {
            return AdmissionVerdict::Refused;
        }
        AdmissionVerdict::Allowed(AdmittedNode {
            tailnet,
            owner: node.owner(),
        })
    }
}

#[cfg(test)]
mod tests;
