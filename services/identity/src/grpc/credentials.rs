//! API keys and OAuth clients, for administrators; and tokens, for services.

use bowline_proto::identity::v1::{
    AuthenticateTokenRequest, AuthenticateTokenResponse, CreateApiKeyRequest, CreateApiKeyResponse,
    CreateOAuthClientRequest, CreateOAuthClientResponse, IssueAccessTokenRequest,
    IssueAccessTokenResponse, ListApiKeysRequest, ListApiKeysResponse, ListOAuthClientsRequest,
    ListOAuthClientsResponse, RevokeApiKeyRequest, RevokeApiKeyResponse, RevokeOAuthClientRequest,
    RevokeOAuthClientResponse, api_key_service_server::ApiKeyService,
    o_auth_client_service_server::OAuthClientService, token_service_server::TokenService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::{credentials::ApiCredentials, fields::read_tailnet_id, tokens::TokenAuthenticator};

#[tonic::async_trait]
impl ApiKeyService for ApiCredentials {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let wanted = request.into_inner();
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let made = ApiCredentials::create_api_key(self, tailnet, caller, wanted).await?;
        Ok(Response::new(made))
    }

    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let keys = ApiCredentials::list_api_keys(self, tailnet).await?;
        Ok(Response::new(ListApiKeysResponse { keys }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<RevokeApiKeyRequest>,
    ) -> Result<Response<RevokeApiKeyResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let RevokeApiKeyRequest { tailnet_id, id } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let revoked = ApiCredentials::revoke_api_key(self, tailnet, caller, id).await?;
        Ok(Response::new(revoked))
    }
}

#[tonic::async_trait]
impl OAuthClientService for ApiCredentials {
    async fn create_o_auth_client(
        &self,
        request: Request<CreateOAuthClientRequest>,
    ) -> Result<Response<CreateOAuthClientResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let wanted = request.into_inner();
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let made = self.create_client(tailnet, caller, wanted).await?;
        Ok(Response::new(made))
    }

    async fn list_o_auth_clients(
        &self,
        request: Request<ListOAuthClientsRequest>,
    ) -> Result<Response<ListOAuthClientsResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let clients = self.list_clients(tailnet).await?;
        Ok(Response::new(ListOAuthClientsResponse { clients }))
    }

    async fn revoke_o_auth_client(
        &self,
        request: Request<RevokeOAuthClientRequest>,
    ) -> Result<Response<RevokeOAuthClientResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let RevokeOAuthClientRequest { tailnet_id, id } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let revoked = self.revoke_client(tailnet, caller, id).await?;
        Ok(Response::new(revoked))
    }
}

#[tonic::async_trait]
impl TokenService for TokenAuthenticator {
    async fn authenticate_token(
        &self,
        request: Request<AuthenticateTokenRequest>,
    ) -> Result<Response<AuthenticateTokenResponse>, Status> {
        let token = Zeroizing::new(request.into_inner().token);
        let holder = Some(self.authenticate(&token).await?);
        Ok(Response::new(AuthenticateTokenResponse { holder }))
    }

    async fn issue_access_token(
        &self,
        request: Request<IssueAccessTokenRequest>,
    ) -> Result<Response<IssueAccessTokenResponse>, Status> {
        let issued = TokenAuthenticator::issue_access_token(self, request.into_inner()).await?;
        Ok(Response::new(issued))
    }
}
