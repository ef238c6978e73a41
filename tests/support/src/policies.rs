//! Policy documents.

use bowline_proto::policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient};
use bowline_service_kit::GrpcChannel;

use crate::TestServices;

impl TestServices {
    /// Returns a client for documents of any size.
    #[must_use]
    pub fn policies(&self) -> PolicyServiceClient<GrpcChannel> {
        PolicyServiceClient::new(self.admin()).max_encoding_message_size(64 << 20)
    }

    /// Puts a document without problems in force.
    pub async fn set_policy(&self, text: &str) {
        let request = SetPolicyRequest {
            tailnet_id: self.tailnet,
            text: text.to_owned(),
            ..SetPolicyRequest::default()
        };
        let stored = self.policies().set_policy(request).await.unwrap();
        let problems = stored.into_inner().problems;
        assert!(problems.is_empty(), "{problems:?}");
    }
}
