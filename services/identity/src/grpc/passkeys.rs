//! Passkeys, for gateways.

use bowline_proto::identity::v1::{
    BeginPasskeyRequest, BeginPasskeyResponse, DeleteOwnPasskeyRequest, DeleteOwnPasskeyResponse,
    FinishPasskeyRequest, FinishPasskeyResponse, ListOwnPasskeysRequest, ListOwnPasskeysResponse,
    passkey_service_server::PasskeyService,
};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::passkeys::Passkeys;

#[tonic::async_trait]
impl PasskeyService for Passkeys {
    async fn begin_passkey(
        &self,
        request: Request<BeginPasskeyRequest>,
    ) -> Result<Response<BeginPasskeyResponse>, Status> {
        let request = request.into_inner();
        let secret = Zeroizing::new(request.session_secret);
        let options = Passkeys::begin_passkey(self, &secret, &request.origin).await?;
        Ok(Response::new(BeginPasskeyResponse { options }))
    }

    async fn finish_passkey(
        &self,
        request: Request<FinishPasskeyRequest>,
    ) -> Result<Response<FinishPasskeyResponse>, Status> {
        let passkey = Some(Passkeys::finish_passkey(self, request.into_inner()).await?);
        Ok(Response::new(FinishPasskeyResponse { passkey }))
    }

    async fn list_own_passkeys(
        &self,
        request: Request<ListOwnPasskeysRequest>,
    ) -> Result<Response<ListOwnPasskeysResponse>, Status> {
        let secret = Zeroizing::new(request.into_inner().session_secret);
        let passkeys = self.list_own(&secret).await?;
        Ok(Response::new(ListOwnPasskeysResponse { passkeys }))
    }

    async fn delete_own_passkey(
        &self,
        request: Request<DeleteOwnPasskeyRequest>,
    ) -> Result<Response<DeleteOwnPasskeyResponse>, Status> {
        let request = request.into_inner();
        let secret = Zeroizing::new(request.session_secret);
        self.delete_own(&secret, request.passkey_id).await?;
        Ok(Response::new(DeleteOwnPasskeyResponse {}))
    }
}
