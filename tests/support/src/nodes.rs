//! Pre-auth keys, and nodes from their registration to what is reported of them.

use std::time::Duration;

use bowline_proto::key_registry::v1::{
    CreatePreAuthKeyRequest, GetNodeRequest, ListNodesRequest, Node, NodeReport, NodeReportResult,
    NodeWithState, PreAuthKey, Presence, PresenceReport, RegisterRequest, ReportNodesRequest,
    key_registry_service_client::KeyRegistryServiceClient, node_service_client::NodeServiceClient,
    pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
    registration_service_client::RegistrationServiceClient,
};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::TestServices;

/// How long a test waits for a node to become as it is to be.
const PATIENCE: Duration = Duration::from_secs(20);

impl TestServices {
    /// Makes a pre-auth key and returns its secret; without a tailnet it is of `home`.
    pub async fn new_key(&self, key: PreAuthKey) -> String {
        let tailnet_id = if key.tailnet_id == 0 {
            self.tailnet
        } else {
            key.tailnet_id
        };
        let key = PreAuthKey { tailnet_id, ..key };
        let request = CreatePreAuthKeyRequest {
            key: Some(key),
            ..CreatePreAuthKeyRequest::default()
        };
        let mut keys = PreAuthKeyServiceClient::new(self.admin());
        let made = keys.create_pre_auth_key(request).await.unwrap();
        made.into_inner().secret
    }

    /// Makes a key for nodes of the user.
    pub async fn new_user_key(&self, reusable: bool) -> String {
        let key = PreAuthKey {
            user_id: self.user.id,
            reusable,
            ..PreAuthKey::default()
        };
        self.new_key(key).await
    }

    /// Makes a key without user for nodes with a tag.
    pub async fn new_tag_key(&self, tag: &str) -> String {
        let key = PreAuthKey {
            tags: vec![tag.to_owned()],
            reusable: true,
            ..PreAuthKey::default()
        };
        self.new_key(key).await
    }

    /// Asks for a registration, as a gateway does.
    ///
    /// # Errors
    ///
    /// When the registry gives no verdict.
    pub async fn try_register(&self, request: RegisterRequest) -> Result<Outcome, Status> {
        let mut registration = RegistrationServiceClient::new(self.gateway());
        let answer = registration.register(request).await?;
        Ok(answer.into_inner().outcome.unwrap())
    }

    /// Asks for a registration and returns the verdict.
    pub async fn register(&self, request: RegisterRequest) -> Outcome {
        self.try_register(request).await.unwrap()
    }

    /// Registers a node.
    pub async fn register_node(&self, request: RegisterRequest) -> Node {
        match self.register(request).await {
            Outcome::Registered(registered) => registered.node.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Returns a node of `home` with its state.
    pub async fn node_with_state(&self, node_id: u64) -> NodeWithState {
        let request = GetNodeRequest {
            tailnet_id: self.tailnet,
            node_id,
        };
        let mut nodes = NodeServiceClient::new(self.admin());
        let found = nodes.get_node(request).await.unwrap();
        found.into_inner().node.unwrap()
    }

    /// Returns a node of `home`.
    pub async fn node(&self, node_id: u64) -> Node {
        self.node_with_state(node_id).await.node.unwrap()
    }

    /// Returns the nodes of `home`.
    pub async fn nodes(&self) -> Vec<Node> {
        let request = ListNodesRequest {
            tailnet_id: self.tailnet,
            ..ListNodesRequest::default()
        };
        let mut nodes = NodeServiceClient::new(self.admin());
        let found = nodes.list_nodes(request).await.unwrap();
        let nodes = found.into_inner().nodes;
        nodes.into_iter().filter_map(|listed| listed.node).collect()
    }

    /// Waits until a node is as it is to be.
    pub async fn wait_for_node(&self, node_id: u64, is_right: impl Fn(&Node) -> bool) -> Node {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let node = self.node(node_id).await;
            if is_right(&node) {
                return node;
            }
            assert!(Instant::now() < deadline, "{node:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the nodes of `home` are as they are to be.
    pub async fn wait_for_nodes(&self, are_right: impl Fn(&[Node]) -> bool) -> Vec<Node> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let nodes = self.nodes().await;
            if are_right(&nodes) {
                return nodes;
            }
            assert!(Instant::now() < deadline, "{nodes:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reports for a node, as a gateway does.
    pub async fn report_node(&self, node: &Node, report: NodeReport) -> NodeReportResult {
        let report = NodeReport {
            tailnet_id: node.tailnet_id,
            node_id: node.id,
            node_key: node.node_key.clone(),
            ..report
        };
        let request = ReportNodesRequest {
            reports: vec![report],
            gateway: "g1".to_owned(),
        };
        let mut registry = KeyRegistryServiceClient::new(self.gateway());
        let answer = registry.report_nodes(request).await.unwrap();
        answer.into_inner().results.remove(0)
    }

    /// Begins or ends the session of a node.
    pub async fn report_session(&self, node: &Node, is_live: bool) {
        let presence = PresenceReport {
            presence: Some(Presence {
                epoch: 0,
                gateway: "g1".to_owned(),
            }),
            live: is_live,
            ..PresenceReport::default()
        };
        let report = NodeReport {
            presence: Some(presence),
            ..NodeReport::default()
        };
        assert!(self.report_node(node, report).await.accepted);
    }
}
