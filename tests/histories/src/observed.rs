//! What is there, as the registry says.

use bowline_proto::key_registry::v1::{
    ListNodesRequest, ListPreAuthKeysRequest, NodeWithState, PreAuthKey,
    node_service_client::NodeServiceClient, pre_auth_key_service_client::PreAuthKeyServiceClient,
};
use tonic::Status;

use crate::{services::TestReplicas, tailnet::TestedTailnet};

/// What the registry says that there is.
#[derive(Clone, Debug, Default)]
pub struct ObservedTailnet {
    /// The nodes.
    pub nodes: Vec<NodeWithState>,
    /// The pre-auth keys.
    pub keys: Vec<PreAuthKey>,
}

impl TestedTailnet {
    /// Returns what there is, as a replica says.
    ///
    /// # Errors
    ///
    /// When the replica does not answer.
    pub async fn observe(
        &self,
        services: &TestReplicas,
        replica: usize,
    ) -> Result<ObservedTailnet, Status> {
        let tailnet_id = self.id;
        let request = ListNodesRequest {
            tailnet_id,
            ..ListNodesRequest::default()
        };
        let mut nodes = NodeServiceClient::new(services.admin(replica));
        let nodes = nodes.list_nodes(request).await?.into_inner().nodes;
        let mut keys = PreAuthKeyServiceClient::new(services.admin(replica));
        let keys = keys.list_pre_auth_keys(ListPreAuthKeysRequest { tailnet_id });
        let keys = keys.await?.into_inner().keys;
        Ok(ObservedTailnet { nodes, keys })
    }
}
