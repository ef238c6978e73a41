//! Links that let one person in, for administrators and gateways.

use bowline_proto::identity::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, CreateInvitationRequest,
    CreateInvitationResponse, GetInvitationRequest, GetInvitationResponse, ListInvitationsRequest,
    ListInvitationsResponse, RevokeInvitationRequest, RevokeInvitationResponse,
    invitation_service_server::InvitationService,
};
use bowline_service_kit::Caller;
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::{
    fields::{read_tailnet_id, require_field},
    invitations::Invitations,
};

/// Serves invitations.
#[derive(Clone, Debug)]
pub struct InvitationRpcs {
    pub(crate) invitations: Invitations,
    /// The URL that browsers reach the gateway by; empty where the settings name none.
    pub(crate) public_url: String,
}

#[tonic::async_trait]
impl InvitationService for InvitationRpcs {
    async fn create_invitation(
        &self,
        request: Request<CreateInvitationRequest>,
    ) -> Result<Response<CreateInvitationResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let CreateInvitationRequest {
            invitation,
            lifetime,
        } = request.into_inner();
        let wanted = require_field("invitation", invitation)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        // One that no clock can count is too long, and refused as such.
        let lifetime =
            lifetime.map(|time| TimeDelta::try_seconds(time.seconds).unwrap_or(TimeDelta::MAX));
        let url = self.public_url.clone();
        let made = self
            .invitations
            .create_invitation(tailnet, caller, wanted, lifetime, url);
        Ok(Response::new(made.await?))
    }

    async fn list_invitations(
        &self,
        request: Request<ListInvitationsRequest>,
    ) -> Result<Response<ListInvitationsResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let invitations = self.invitations.list_invitations(tailnet).await?;
        Ok(Response::new(ListInvitationsResponse { invitations }))
    }

    async fn revoke_invitation(
        &self,
        request: Request<RevokeInvitationRequest>,
    ) -> Result<Response<RevokeInvitationResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RevokeInvitationRequest {
            tailnet_id,
            invitation_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        self.invitations
            .revoke_invitation(tailnet, actor, invitation_id)
            .await?;
        Ok(Response::new(RevokeInvitationResponse {}))
    }

    async fn get_invitation(
        &self,
        request: Request<GetInvitationRequest>,
    ) -> Result<Response<GetInvitationResponse>, Status> {
        let secret = Zeroizing::new(request.into_inner().secret);
        Ok(Response::new(
            self.invitations.find_invitation(&secret).await?,
        ))
    }

    async fn accept_invitation(
        &self,
        request: Request<AcceptInvitationRequest>,
    ) -> Result<Response<AcceptInvitationResponse>, Status> {
        let opened = self
            .invitations
            .accept_invitation(request.into_inner())
            .await?;
        Ok(Response::new(AcceptInvitationResponse {
            session: Some(opened.session),
            secret: opened.secret.to_string(),
        }))
    }
}
