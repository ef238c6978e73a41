//! Connections to identity providers, for administrators.

use bowline_proto::identity::v1::{
    CreateConnectionRequest, CreateConnectionResponse, DeleteConnectionRequest,
    DeleteConnectionResponse, LinkUserRequest, LinkUserResponse, ListConnectionsRequest,
    ListConnectionsResponse, UpdateConnectionRequest, UpdateConnectionResponse,
    connection_service_server::ConnectionService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::{
    connections::Connections,
    fields::{read_tailnet_id, require_field},
};

#[tonic::async_trait]
impl ConnectionService for Connections {
    async fn create_connection(
        &self,
        request: Request<CreateConnectionRequest>,
    ) -> Result<Response<CreateConnectionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let CreateConnectionRequest {
            connection,
            client_secret,
        } = request.into_inner();
        let wanted = require_field("connection", connection)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let secret = Zeroizing::new(client_secret);
        let made = Connections::create_connection(self, tailnet, actor, wanted, secret).await?;
        Ok(Response::new(CreateConnectionResponse {
            connection: Some(made),
        }))
    }

    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let connections = Connections::list_connections(self, tailnet).await?;
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
        } = request.into_inner();
        let wanted = require_field("connection", connection)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        // Without a mask nothing is to change.
        let mask = update_mask.map_or_else(Vec::new, |mask| mask.paths);
        let secret = Zeroizing::new(client_secret);
        let changed =
            Connections::update_connection(self, tailnet, actor, wanted, mask, secret).await?;
        Ok(Response::new(UpdateConnectionResponse {
            connection: Some(changed),
        }))
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
        Connections::delete_connection(self, tailnet, actor, connection_id).await?;
        Ok(Response::new(DeleteConnectionResponse {}))
    }

    async fn link_user(
        &self,
        request: Request<LinkUserRequest>,
    ) -> Result<Response<LinkUserResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        Connections::link_user(self, tailnet, actor, request).await?;
        Ok(Response::new(LinkUserResponse {}))
    }
}
