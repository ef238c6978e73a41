//! Tailnet lock, for devices and administrators.

use bowline_proto::key_registry::v1::{
    BeginLockRequest, BeginLockResponse, BootstrapLockRequest, BootstrapLockResponse,
    DisableLockRequest, DisableLockResponse, FinishLockRequest, FinishLockResponse, GetLockRequest,
    GetLockResponse, ListLockUpdatesRequest, ListLockUpdatesResponse, ListSignaturesOfKeyRequest,
    ListSignaturesOfKeyResponse, OfferLockUpdatesRequest, OfferLockUpdatesResponse,
    SendLockUpdatesRequest, SendLockUpdatesResponse, SignNodeKeyRequest, SignNodeKeyResponse,
    tailnet_lock_service_server::TailnetLockService,
};
use tonic::{Request, Response, Status};

use crate::{fields::read_tailnet_id, tailnet_lock::TailnetLocks};

#[tonic::async_trait]
impl TailnetLockService for TailnetLocks {
    async fn begin_lock(
        &self,
        request: Request<BeginLockRequest>,
    ) -> Result<Response<BeginLockResponse>, Status> {
        let begun = TailnetLocks::begin_lock(self, request.into_inner()).await?;
        Ok(Response::new(begun))
    }

    async fn finish_lock(
        &self,
        request: Request<FinishLockRequest>,
    ) -> Result<Response<FinishLockResponse>, Status> {
        TailnetLocks::finish_lock(self, request.into_inner()).await?;
        Ok(Response::new(FinishLockResponse {}))
    }

    async fn bootstrap_lock(
        &self,
        request: Request<BootstrapLockRequest>,
    ) -> Result<Response<BootstrapLockResponse>, Status> {
        let answer = TailnetLocks::bootstrap_lock(self, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn offer_lock_updates(
        &self,
        request: Request<OfferLockUpdatesRequest>,
    ) -> Result<Response<OfferLockUpdatesResponse>, Status> {
        let answer = self.offer_updates(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn send_lock_updates(
        &self,
        request: Request<SendLockUpdatesRequest>,
    ) -> Result<Response<SendLockUpdatesResponse>, Status> {
        let head = self.take_updates(request.into_inner()).await?;
        Ok(Response::new(SendLockUpdatesResponse { head }))
    }

    async fn disable_lock(
        &self,
        request: Request<DisableLockRequest>,
    ) -> Result<Response<DisableLockResponse>, Status> {
        TailnetLocks::disable_lock(self, request.into_inner()).await?;
        Ok(Response::new(DisableLockResponse {}))
    }

    async fn sign_node_key(
        &self,
        request: Request<SignNodeKeyRequest>,
    ) -> Result<Response<SignNodeKeyResponse>, Status> {
        TailnetLocks::sign_node_key(self, request.into_inner()).await?;
        Ok(Response::new(SignNodeKeyResponse {}))
    }

    async fn list_signatures_of_key(
        &self,
        request: Request<ListSignaturesOfKeyRequest>,
    ) -> Result<Response<ListSignaturesOfKeyResponse>, Status> {
        let signatures = self.list_signatures(request.into_inner()).await?;
        Ok(Response::new(ListSignaturesOfKeyResponse { signatures }))
    }

    async fn get_lock(
        &self,
        request: Request<GetLockRequest>,
    ) -> Result<Response<GetLockResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let lock = TailnetLocks::get_lock(self, tailnet).await?;
        Ok(Response::new(lock))
    }

    async fn list_lock_updates(
        &self,
        request: Request<ListLockUpdatesRequest>,
    ) -> Result<Response<ListLockUpdatesResponse>, Status> {
        let ListLockUpdatesRequest { tailnet_id, most } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let updates = self.list_updates(tailnet, most).await?;
        Ok(Response::new(ListLockUpdatesResponse { updates }))
    }
}
