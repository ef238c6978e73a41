//! What providers ask by SCIM, and the tokens that they ask with.

use bowline_proto::identity::v1::{
    CreateScimResourceRequest, CreateScimResourceResponse, CreateScimTokenRequest,
    CreateScimTokenResponse, DeleteScimResourceRequest, DeleteScimResourceResponse,
    GetScimResourceRequest, GetScimResourceResponse, ListScimResourcesRequest,
    ListScimResourcesResponse, ListScimTokensRequest, ListScimTokensResponse,
    PatchScimResourceRequest, PatchScimResourceResponse, ReplaceScimResourceRequest,
    ReplaceScimResourceResponse, RevokeScimTokenRequest, RevokeScimTokenResponse, ScimResourceType,
    scim_service_server::ScimService, scim_token_service_server::ScimTokenService,
};
use bowline_scim::ScimType;
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    error::IdentityError,
    fields::read_tailnet_id,
    scim::{ScimProvisioning, ScimRequest, ScimTokens},
};

#[tonic::async_trait]
impl ScimTokenService for ScimTokens {
    async fn create_scim_token(
        &self,
        request: Request<CreateScimTokenRequest>,
    ) -> Result<Response<CreateScimTokenResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let wanted = request.into_inner();
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let made = self.create_token(tailnet, caller, wanted).await?;
        Ok(Response::new(made))
    }

    async fn list_scim_tokens(
        &self,
        request: Request<ListScimTokensRequest>,
    ) -> Result<Response<ListScimTokensResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let tokens = self.list_tokens(tailnet).await?;
        Ok(Response::new(ListScimTokensResponse { tokens }))
    }

    async fn revoke_scim_token(
        &self,
        request: Request<RevokeScimTokenRequest>,
    ) -> Result<Response<RevokeScimTokenResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RevokeScimTokenRequest { tailnet_id, id } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let revoked = self.revoke_token(tailnet, actor, id).await?;
        Ok(Response::new(revoked))
    }
}

fn read_type(of: ScimResourceType) -> Result<ScimType, IdentityError> {
    match of {
        ScimResourceType::User => Ok(ScimType::User),
        ScimResourceType::Group => Ok(ScimType::Group),
        ScimResourceType::Unspecified => Err(IdentityError::invalid("type", "is missing")),
    }
}

#[tonic::async_trait]
impl ScimService for ScimProvisioning {
    async fn create_scim_resource(
        &self,
        request: Request<CreateScimResourceRequest>,
    ) -> Result<Response<CreateScimResourceResponse>, Status> {
        let request = request.into_inner();
        let of = read_type(request.r#type())?;
        let request = ScimRequest {
            body: request.body,
            projection: request.projection,
            ..ScimRequest::new(of, request.token)
        };
        let resource = Some(self.create_resource(request).await?);
        Ok(Response::new(CreateScimResourceResponse { resource }))
    }

    async fn get_scim_resource(
        &self,
        request: Request<GetScimResourceRequest>,
    ) -> Result<Response<GetScimResourceResponse>, Status> {
        let request = request.into_inner();
        let of = read_type(request.r#type())?;
        let request = ScimRequest {
            id: request.id,
            projection: request.projection,
            ..ScimRequest::new(of, request.token)
        };
        let resource = Some(self.get_resource(request).await?);
        Ok(Response::new(GetScimResourceResponse { resource }))
    }

    async fn list_scim_resources(
        &self,
        request: Request<ListScimResourcesRequest>,
    ) -> Result<Response<ListScimResourcesResponse>, Status> {
        let request = request.into_inner();
        let of = read_type(request.r#type())?;
        Ok(Response::new(self.list_resources(of, request).await?))
    }

    async fn replace_scim_resource(
        &self,
        request: Request<ReplaceScimResourceRequest>,
    ) -> Result<Response<ReplaceScimResourceResponse>, Status> {
        let request = request.into_inner();
        let of = read_type(request.r#type())?;
        let request = ScimRequest {
            of,
            token: request.token,
            id: request.id,
            body: request.body,
            if_match: request.if_match,
            projection: request.projection,
        };
        let resource = Some(self.replace_resource(request).await?);
        Ok(Response::new(ReplaceScimResourceResponse { resource }))
    }

    async fn patch_scim_resource(
        &self,
        request: Request<PatchScimResourceRequest>,
    ) -> Result<Response<PatchScimResourceResponse>, Status> {
        let request = request.into_inner();
        let of = read_type(request.r#type())?;
        let request = ScimRequest {
            of,
            token: request.token,
            id: request.id,
            body: request.body,
            if_match: request.if_match,
            projection: request.projection,
        };
        let resource = Some(self.patch_resource(request).await?);
        Ok(Response::new(PatchScimResourceResponse { resource }))
    }

    async fn delete_scim_resource(
        &self,
        request: Request<DeleteScimResourceRequest>,
    ) -> Result<Response<DeleteScimResourceResponse>, Status> {
        let request = request.into_inner();
        let of = read_type(request.r#type())?;
        let request = ScimRequest {
            id: request.id,
            if_match: request.if_match,
            ..ScimRequest::new(of, request.token)
        };
        self.delete_resource(request).await?;
        Ok(Response::new(DeleteScimResourceResponse {}))
    }
}
