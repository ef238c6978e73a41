//! Whom the relay serves: as the registry and identity say.

use std::net::IpAddr;

use bowline_ids::TailnetId;
use bowline_keys::NodePublic;
use bowline_relay::{AdmissionVerdict, AdmittedNode, NodeAdmission};
use bowline_service_kit::{
    GrpcChannel,
    relay_permits::{RelayPermit, RelayPermits},
};

/// Asks the registry about a node's key, then identity about the node's user.
#[derive(Debug)]
pub(crate) struct RegistryAdmission(RelayPermits);

impl RegistryAdmission {
    /// Returns an admission that asks these services.
    pub(crate) fn new(registry: GrpcChannel, identity: GrpcChannel) -> Self {
        Self(RelayPermits::new(registry, identity))
    }
}

#[async_trait::async_trait]
impl NodeAdmission for RegistryAdmission {
    async fn judge_node(&self, node: NodePublic, _: IpAddr) -> AdmissionVerdict {
        // What identity answered last is all that a relay knows.
        let node = match self.0.ask_permit(node.as_bytes(), |_| false).await {
            RelayPermit::Granted(node) => node,
            RelayPermit::Refused => return AdmissionVerdict::Refused,
            RelayPermit::Unknown(_) => return AdmissionVerdict::Unknown,
        };
        let Ok(tailnet) = TailnetId::try_from(node.tailnet_id) else {
            return AdmissionVerdict::Refused;
        };
        AdmissionVerdict::Allowed(AdmittedNode {
            tailnet,
            owner: node.owner(),
        })
    }
}

#[cfg(test)]
mod tests;
