//! Webhooks, for administrators.

use bowline_proto::identity::v1::{
    CreateWebhookRequest, CreateWebhookResponse, DeleteWebhookRequest, DeleteWebhookResponse,
    GetWebhookRequest, GetWebhookResponse, ListUndeliveredEventsRequest,
    ListUndeliveredEventsResponse, ListWebhooksRequest, ListWebhooksResponse,
    ReplayUndeliveredEventsRequest, ReplayUndeliveredEventsResponse, RotateWebhookSecretRequest,
    RotateWebhookSecretResponse, TestWebhookRequest, TestWebhookResponse, UpdateWebhookRequest,
    UpdateWebhookResponse, webhook_service_server::WebhookService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{fields::read_tailnet_id, webhooks::Webhooks};

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn create_webhook(
        &self,
        request: Request<CreateWebhookRequest>,
    ) -> Result<Response<CreateWebhookResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let made = Self::create_webhook(self, tailnet, actor, request).await?;
        Ok(Response::new(made))
    }

    async fn list_webhooks(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let webhooks = Self::list_webhooks(self, tailnet).await?;
        Ok(Response::new(ListWebhooksResponse { webhooks }))
    }

    async fn get_webhook(
        &self,
        request: Request<GetWebhookRequest>,
    ) -> Result<Response<GetWebhookResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let webhook = self.find_webhook(tailnet, request.webhook_id).await?;
        Ok(Response::new(GetWebhookResponse {
            webhook: Some(webhook),
        }))
    }

    async fn update_webhook(
        &self,
        request: Request<UpdateWebhookRequest>,
    ) -> Result<Response<UpdateWebhookResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let (id, subscriptions) = (request.webhook_id, request.subscriptions);
        let changed = self.subscribe_webhook(tailnet, actor, id, subscriptions);
        Ok(Response::new(changed.await?))
    }

    async fn delete_webhook(
        &self,
        request: Request<DeleteWebhookRequest>,
    ) -> Result<Response<DeleteWebhookResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        Self::delete_webhook(self, tailnet, actor, request.webhook_id).await?;
        Ok(Response::new(DeleteWebhookResponse {}))
    }

    async fn test_webhook(
        &self,
        request: Request<TestWebhookRequest>,
    ) -> Result<Response<TestWebhookResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let queued = Self::test_webhook(self, tailnet, actor, request.webhook_id).await?;
        Ok(Response::new(queued))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<RotateWebhookSecretRequest>,
    ) -> Result<Response<RotateWebhookSecretResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let rotated = self.rotate_secret(tailnet, actor, request.webhook_id);
        Ok(Response::new(rotated.await?))
    }

    async fn list_undelivered_events(
        &self,
        request: Request<ListUndeliveredEventsRequest>,
    ) -> Result<Response<ListUndeliveredEventsResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let events = self.list_undelivered(tailnet, request.webhook_id).await?;
        Ok(Response::new(ListUndeliveredEventsResponse { events }))
    }

    async fn replay_undelivered_events(
        &self,
        request: Request<ReplayUndeliveredEventsRequest>,
    ) -> Result<Response<ReplayUndeliveredEventsResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let replayed = self.replay_events(tailnet, actor, request.webhook_id, request.event_id);
        Ok(Response::new(replayed.await?))
    }
}
