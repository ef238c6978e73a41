//! Connections to identity providers, for administrators.

use std::sync::Arc;

use bowline_proto::identity::v1::{
    CreateConnectionRequest, CreateConnectionResponse, DeleteConnectionRequest,
    DeleteConnectionResponse, LinkUserRequest, LinkUserResponse, ListConnectionsRequest,
    ListConnectionsResponse, ListUserLinksRequest, ListUserLinksResponse, RefreshConnectionRequest,
    RefreshConnectionResponse, RollConnectionKeyRequest, RollConnectionKeyResponse,
    TestConnectionRequest, TestConnectionResponse, UnlinkUserRequest, UnlinkUserResponse,
    UpdateConnectionRequest, UpdateConnectionResponse,
    connection_service_server::ConnectionService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::{
    connection_tester::ConnectionTester,
    connections::{ConnectionUpdate, Connections},
    fields::{read_mask, read_tailnet_id, require_field},
    sessions::BrowserSessions,
};

/// Serves administrators. Clones share it.
#[derive(Clone)]
pub struct ConnectionRpcs {
    pub(crate) connections: Connections,
    pub(crate) tester: ConnectionTester,
    pub(crate) sessions: BrowserSessions,
    pub(crate) public_url: String,
}

#[tonic::async_trait]
impl ConnectionService for ConnectionRpcs {
    async fn create_connection(
        &self,
        request: Request<CreateConnectionRequest>,
    ) -> Result<Response<CreateConnectionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let CreateConnectionRequest {
            connection,
            client_secret,
            saml_metadata,
        } = request.into_inner();
        let wanted = require_field("connection", connection)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let secret = Zeroizing::new(client_secret);
        let url = self.public_url.clone();
        let made =
            self.connections
                .create_connection(tailnet, actor, wanted, secret, saml_metadata, url);
        Ok(Response::new(made.await?))
    }

    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let connections = self.connections.list_connections(tailnet).await?;
        Ok(Response::new(ListConnectionsResponse { connections }))
    }

    async fn update_connection(
        &self,
        request: Request<UpdateConnectionRequest>,
    ) -> Result<Response<UpdateConnectionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let UpdateConnectionRequest {
            connection,
            update_mask,
            client_secret,
            saml_metadata,
        } = request.into_inner();
        let wanted = require_field("connection", connection)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let update = ConnectionUpdate {
            wanted,
            mask: read_mask(update_mask),
            client_secret: Zeroizing::new(client_secret),
            saml_metadata,
        };
        let changed = self.connections.update_connection(tailnet, actor, update);
        Ok(Response::new(changed.await?))
    }

    async fn delete_connection(
        &self,
        request: Request<DeleteConnectionRequest>,
    ) -> Result<Response<DeleteConnectionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let DeleteConnectionRequest {
            tailnet_id,
            connection_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        self.connections
            .delete_connection(tailnet, actor, connection_id)
            .await?;
        Ok(Response::new(DeleteConnectionResponse {}))
    }

    async fn link_user(
        &self,
        request: Request<LinkUserRequest>,
    ) -> Result<Response<LinkUserResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        self.connections.link_user(tailnet, caller, request).await?;
        Ok(Response::new(LinkUserResponse {}))
    }

    async fn unlink_user(
        &self,
        request: Request<UnlinkUserRequest>,
    ) -> Result<Response<UnlinkUserResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let unlinked = self.connections.unlink_user(tailnet, caller, request);
        unlinked.await?;
        Ok(Response::new(UnlinkUserResponse {}))
    }

    async fn list_user_links(
        &self,
        request: Request<ListUserLinksRequest>,
    ) -> Result<Response<ListUserLinksResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let links = self
            .connections
            .list_links(tailnet, request.user_id)
            .await?;
        Ok(Response::new(ListUserLinksResponse { links }))
    }

    async fn roll_connection_key(
        &self,
        request: Request<RollConnectionKeyRequest>,
    ) -> Result<Response<RollConnectionKeyResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RollConnectionKeyRequest {
            tailnet_id,
            connection_id,
            finish,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let sealing = Arc::clone(self.connections.sealing_keys()?);
        let keys = self.connections.saml_keys();
        let rolled = keys.roll_key(sealing, tailnet, actor, connection_id, finish);
        Ok(Response::new(rolled.await?))
    }

    async fn refresh_connection(
        &self,
        request: Request<RefreshConnectionRequest>,
    ) -> Result<Response<RefreshConnectionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RefreshConnectionRequest {
            tailnet_id,
            connection_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let hastened = self
            .sessions
            .hasten_refreshes(tailnet, actor, connection_id);
        Ok(Response::new(hastened.await?))
    }

    async fn test_connection(
        &self,
        request: Request<TestConnectionRequest>,
    ) -> Result<Response<TestConnectionResponse>, Status> {
        let TestConnectionRequest {
            tailnet_id,
            connection_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let checks = self.tester.test_connection(tailnet, connection_id).await?;
        Ok(Response::new(TestConnectionResponse { checks }))
    }
}
