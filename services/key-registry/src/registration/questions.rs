//! What registrations ask other services. Those that come together are asked about together, such as whether the owners of their
//! pre-auth keys are in good standing.

use std::{collections::BTreeMap, sync::Arc};

use bowline_proto::{
    identity::v1::Tailnet,
    policy::v1::{JudgeNodeRequest, JudgeNodeResponse},
};

use crate::{
    asked_services::{AskedServices, JudgedNodes, ResolvedUser},
    batched_questions::BatchedQuestions,
    error::RegistryError,
};

/// What registrations ask other services, by tailnet. Clones share the questions.
#[derive(Clone, Debug)]
pub(super) struct SharedQuestions(Arc<Questions>);

#[derive(Debug)]
struct Questions {
    services: AskedServices,
    users: BatchedQuestions<u64, u64, BTreeMap<u64, ResolvedUser>, RegistryError>,
    tailnets: BatchedQuestions<u64, (), Option<Tailnet>, RegistryError>,
    judgements: BatchedQuestions<u64, JudgeNodeRequest, JudgedNodes, RegistryError>,
}

impl SharedQuestions {
    pub(super) fn new(services: AskedServices) -> Self {
        Self(Arc::new(Questions {
            services,
            users: BatchedQuestions::default(),
            tailnets: BatchedQuestions::default(),
            judgements: BatchedQuestions::default(),
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
        let ask = |user_ids| services.resolve_users(tailnet_id, user_ids);
        let resolved = users.ask(tailnet_id, user_id, ask).await?;
        Ok(resolved.get(&user_id).cloned())
    }

    /// Asks for a tailnet; `None` when there is none.
    pub(super) async fn resolve_tailnet(
        &self,
        tailnet_id: u64,
    ) -> Result<Option<Tailnet>, RegistryError> {
        let Questions {
            services, tailnets, ..
        } = &*self.0;
        let ask = |_| services.resolve_tailnet(tailnet_id);
        let resolved = tailnets.ask(tailnet_id, (), ask).await?;
        Ok((*resolved).clone())
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
        let tailnet_id = question.tailnet_id;
        let ask = |nodes| services.judge_nodes(tailnet_id, nodes);
        let judged = judgements.ask(tailnet_id, question.clone(), ask).await?;
        judged.find_judgement(&question)
    }
}
