//! What other services ask of identity.

use bowline_proto::{
    changes::v1::{ChangesSinceRequest, HeadsRequest, HeadsResponse, SnapshotRequest},
    identity::v1::{
        AskApprovalRequest, AskApprovalResponse, IdentityChanges, IdentitySnapshot,
        ResolveTailnetRequest, ResolveTailnetResponse, ResolveUserRequest, ResolveUserResponse,
        ResolveUsersRequest, ResolveUsersResponse, identity_service_server::IdentityService,
    },
};
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use crate::{
    changes::IdentityChangesReader,
    fields::read_tailnet_id,
    tailnets::{TailnetName, Tailnets},
    users::Users,
    webhooks::ApprovalAsker,
};

/// Serves what other services ask of identity.
#[derive(Clone)]
pub struct IdentityRpcs {
    tailnets: Tailnets,
    users: Users,
    changes: IdentityChangesReader,
    asker: ApprovalAsker,
}

impl IdentityRpcs {
    pub(crate) fn new(
        tailnets: Tailnets,
        users: Users,
        changes: IdentityChangesReader,
        asker: ApprovalAsker,
    ) -> Self {
        Self {
            tailnets,
            users,
            changes,
            asker,
        }
    }
}

#[tonic::async_trait]
impl IdentityService for IdentityRpcs {
    type SnapshotStream = Iter<std::vec::IntoIter<Result<IdentitySnapshot, Status>>>;

    async fn resolve_user(
        &self,
        request: Request<ResolveUserRequest>,
    ) -> Result<Response<ResolveUserResponse>, Status> {
        let ResolveUserRequest {
            tailnet_id,
            user_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let resolved = self.users.resolve_user(tailnet, user_id).await?;
        Ok(Response::new(resolved))
    }

    async fn resolve_users(
        &self,
        request: Request<ResolveUsersRequest>,
    ) -> Result<Response<ResolveUsersResponse>, Status> {
        let ResolveUsersRequest {
            tailnet_id,
            user_ids,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let resolved = self.users.resolve_users(tailnet, &user_ids).await?;
        Ok(Response::new(resolved))
    }

    async fn ask_approval(
        &self,
        request: Request<AskApprovalRequest>,
    ) -> Result<Response<AskApprovalResponse>, Status> {
        let answer = self.asker.ask_approval(request.into_inner());
        Ok(Response::new(answer.await?))
    }

    async fn resolve_tailnet(
        &self,
        request: Request<ResolveTailnetRequest>,
    ) -> Result<Response<ResolveTailnetResponse>, Status> {
        let ResolveTailnetRequest { tailnet_id, name } = request.into_inner();
        let name = match tailnet_id {
            0 => TailnetName::Name(name),
            id => TailnetName::Id(read_tailnet_id(id)?),
        };
        let resolved = self.tailnets.resolve_tailnet(name).await?;
        Ok(Response::new(resolved))
    }

    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<HeadsResponse>, Status> {
        let asked = request.into_inner().tailnet_ids.into_iter();
        let asked = asked.map(read_tailnet_id).collect::<Result<Vec<_>, _>>()?;
        Ok(Response::new(self.changes.read_heads(&asked).await?))
    }

    async fn changes_since(
        &self,
        request: Request<ChangesSinceRequest>,
    ) -> Result<Response<IdentityChanges>, Status> {
        let ChangesSinceRequest {
            tailnet_id,
            revision,
            ..
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let changes = self.changes.read_changes(tailnet, revision).await?;
        Ok(Response::new(changes))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let chunks = self.changes.read_snapshot(tailnet).await?;
        let chunks: Vec<_> = chunks.into_iter().map(Ok).collect();
        Ok(Response::new(tokio_stream::iter(chunks)))
    }
}
