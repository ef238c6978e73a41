//! Tailnets, for administrators.

use bowline_proto::access::decisions;
use bowline_proto::identity::v1::{
    CreateTailnetRequest, CreateTailnetResponse, DeleteTailnetRequest, DeleteTailnetResponse,
    ListTailnetsRequest, ListTailnetsResponse, UpdateDnsRequest, UpdateDnsResponse,
    UpdateTailnetRequest, UpdateTailnetResponse, tailnet_service_server::TailnetService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    error::IdentityError,
    fields::{read_mask, read_tailnet_id, require_field},
    tailnets::Tailnets,
};

#[tonic::async_trait]
impl TailnetService for Tailnets {
    async fn create_tailnet(
        &self,
        request: Request<CreateTailnetRequest>,
    ) -> Result<Response<CreateTailnetResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let made = Tailnets::create_tailnet(self, actor, request.into_inner()).await?;
        Ok(Response::new(made))
    }

    async fn list_tailnets(
        &self,
        _: Request<ListTailnetsRequest>,
    ) -> Result<Response<ListTailnetsResponse>, Status> {
        let tailnets = self.list_all().await?;
        Ok(Response::new(ListTailnetsResponse { tailnets }))
    }

    async fn update_tailnet(
        &self,
        request: Request<UpdateTailnetRequest>,
    ) -> Result<Response<UpdateTailnetResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let UpdateTailnetRequest {
            tailnet,
            update_mask,
        } = request.into_inner();
        let wanted = require_field("tailnet", tailnet)?;
        let id = read_tailnet_id(wanted.id)?;
        let mask = read_mask(update_mask);
        let fields = mask.iter().map(String::as_str);
        let decided = caller.check(|by| decisions::may_change_settings(by, fields));
        decided.map_err(IdentityError::from)?;
        let actor = caller.to_string();
        let changed = Tailnets::update_tailnet(self, id, actor, wanted, mask).await?;
        Ok(Response::new(changed))
    }

    async fn update_dns(
        &self,
        request: Request<UpdateDnsRequest>,
    ) -> Result<Response<UpdateDnsResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let UpdateDnsRequest {
            tailnet_id,
            changes,
        } = request.into_inner();
        let id = read_tailnet_id(tailnet_id)?;
        let changed = Tailnets::update_dns(self, id, actor, changes).await?;
        Ok(Response::new(changed))
    }

    async fn delete_tailnet(
        &self,
        request: Request<DeleteTailnetRequest>,
    ) -> Result<Response<DeleteTailnetResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let id = read_tailnet_id(request.into_inner().tailnet_id)?;
        Tailnets::delete_tailnet(self, id, actor).await?;
        Ok(Response::new(DeleteTailnetResponse {}))
    }
}
