//! Conditions that logins must meet, for administrators.

use bowline_proto::identity::v1::{
    AddConditionRequest, AddConditionResponse, ExplainConditionsRequest, ExplainConditionsResponse,
    ListConditionsRequest, ListConditionsResponse, RemoveConditionRequest, RemoveConditionResponse,
    condition_service_server::ConditionService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    conditions::Conditions,
    fields::{read_tailnet_id, require_field},
};

#[tonic::async_trait]
impl ConditionService for Conditions {
    async fn add_condition(
        &self,
        request: Request<AddConditionRequest>,
    ) -> Result<Response<AddConditionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let wanted = require_field("condition", request.into_inner().condition)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let added = Conditions::add_condition(self, tailnet, actor, wanted).await?;
        Ok(Response::new(added))
    }

    async fn list_conditions(
        &self,
        request: Request<ListConditionsRequest>,
    ) -> Result<Response<ListConditionsResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let conditions = Conditions::list_conditions(self, tailnet).await?;
        Ok(Response::new(ListConditionsResponse { conditions }))
    }

    async fn remove_condition(
        &self,
        request: Request<RemoveConditionRequest>,
    ) -> Result<Response<RemoveConditionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RemoveConditionRequest {
            tailnet_id,
            condition_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        Conditions::remove_condition(self, tailnet, actor, condition_id).await?;
        Ok(Response::new(RemoveConditionResponse {}))
    }

    async fn explain_conditions(
        &self,
        request: Request<ExplainConditionsRequest>,
    ) -> Result<Response<ExplainConditionsResponse>, Status> {
        let ExplainConditionsRequest {
            tailnet_id,
            user_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let conditions = Conditions::explain_conditions(self, tailnet, user_id).await?;
        Ok(Response::new(ExplainConditionsResponse { conditions }))
    }
}
