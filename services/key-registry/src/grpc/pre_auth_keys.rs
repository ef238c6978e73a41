//! Pre-auth keys, for administrators.

use bowline_proto::key_registry::v1::{
    CreatePreAuthKeyRequest, CreatePreAuthKeyResponse, ListPreAuthKeysRequest,
    ListPreAuthKeysResponse, RevokePreAuthKeyRequest, RevokePreAuthKeyResponse,
    pre_auth_key_service_server::PreAuthKeyService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    fields::{read_life, read_tailnet_id, require_field},
    pre_auth_keys::PreAuthKeys,
};

#[tonic::async_trait]
impl PreAuthKeyService for PreAuthKeys {
    async fn create_pre_auth_key(
        &self,
        request: Request<CreatePreAuthKeyRequest>,
    ) -> Result<Response<CreatePreAuthKeyResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let CreatePreAuthKeyRequest { key, expires_after } = request.into_inner();
        let wanted = require_field("key", key)?;
        let life = expires_after.map(read_life).transpose()?;
        Ok(Response::new(self.create_key(caller, wanted, life).await?))
    }

    async fn list_pre_auth_keys(
        &self,
        request: Request<ListPreAuthKeysRequest>,
    ) -> Result<Response<ListPreAuthKeysResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let keys = self.list_keys(tailnet).await?;
        Ok(Response::new(ListPreAuthKeysResponse { keys }))
    }

    async fn revoke_pre_auth_key(
        &self,
        request: Request<RevokePreAuthKeyRequest>,
    ) -> Result<Response<RevokePreAuthKeyResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RevokePreAuthKeyRequest { tailnet_id, id } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        Ok(Response::new(self.revoke_key(actor, tailnet, id).await?))
    }
}
