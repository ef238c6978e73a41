//! What registrations ask other services. Many that come together ask the same, such as whether the owner of a pre-auth key is in
//! good standing: they share the question.

use std::sync::Arc;

use bowline_proto::{
    identity::v1::Tailnet,
    policy::v1::{JudgeNodeRequest, JudgeNodeResponse},
};
use prost::Message as _;

use crate::{
    asked_services::{AskedServices, ResolvedUser},
    error::RegistryError,
    shared_answers::SharedAnswers,
};

/// What registrations ask other services. Clones share the questions.
#[derive(Clone, Debug)]
pub(super) struct SharedQuestions(Arc<Questions>);

#[derive(Debug)]
struct Questions {
    services: AskedServices,
    users: SharedAnswers<(u64, u64), Option<ResolvedUser>, RegistryError>,
    tailnets: SharedAnswers<u64, Option<Tailnet>, RegistryError>,
    /// By the encoded request.
    judgements: SharedAnswers<Vec<u8>, JudgeNodeResponse, RegistryError>,
}

impl SharedQuestions {
    pub(super) fn new(services: AskedServices) -> Self {
        Self(Arc::new(Questions {
            services,
            users: SharedAnswers::default(),
            tailnets: SharedAnswers::default(),
            judgements: SharedAnswers::default(),
        }))
    }

    /// Asks for a user; `None` when there is none.
    pub(super) async fn resolve_user(
        &self,
        tailnet_id: u64,
        user_id: u64,
    ) -> Result<Option<ResolvedUser>, RegistryError> {
        let Questions {
            services, users, ..
        } = &*self.0;
        let ask = || services.resolve_user(tailnet_id, user_id);
        users.ask((tailnet_id, user_id), ask).await
    }

    /// Asks for a tailnet; `None` when there is none.
    pub(super) async fn resolve_tailnet(
        &self,
        tailnet_id: u64,
    ) -> Result<Option<Tailnet>, RegistryError> {
        let Questions {
            services, tailnets, ..
        } = &*self.0;
        let ask = || services.resolve_tailnet(tailnet_id);
        tailnets.ask(tailnet_id, ask).await
    }

    /// Asks what the policy says of a node's tags and routes.
    pub(super) async fn judge_node(
        &self,
        question: JudgeNodeRequest,
    ) -> Result<JudgeNodeResponse, RegistryError> {
        let Questions {
            services,
            judgements,
            ..
        } = &*self.0;
        let encoded = question.encode_to_vec();
        let ask = || services.judge_node(question);
        judgements.ask(encoded, ask).await
    }
}
