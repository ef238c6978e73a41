//! What other services ask, and how they follow the log.

use bowline_proto::{
    changes::v1::{ChangesSinceRequest, HeadsRequest, HeadsResponse, SnapshotRequest},
    identity::v1::{
        IdentityChanges, IdentitySnapshot, ResolveTailnetRequest, ResolveTailnetResponse,
        ResolveUserRequest, ResolveUserResponse, identity_service_server::IdentityService,
    },
};
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use crate::{Identity, error::IdentityError, fields::read_tailnet_id, store};

/// The most users in one chunk of a snapshot.
const CHUNK: usize = 500;

#[tonic::async_trait]
impl IdentityService for Identity {
    type SnapshotStream = Iter<std::vec::IntoIter<Result<IdentitySnapshot, Status>>>;

    async fn resolve_user(
        &self,
        request: Request<ResolveUserRequest>,
    ) -> Result<Response<ResolveUserResponse>, Status> {
        let ResolveUserRequest {
            tailnet_id: tailnet,
            user_id,
        } = request.into_inner();
        let id = read_tailnet_id(tailnet)?;
        let mut read = self
            .log()
            .database()
            .begin_read()
            .await
            .map_err(IdentityError::from)?;
        let resolved = async {
            let tailnet = store::find_tailnet(&mut *read, id.get()).await?;
            let tailnet = Some(tailnet.ok_or(IdentityError::NotFound("tailnet"))?);
            let user = store::find_user(&mut *read, id.get(), user_id).await?;
            let user = Some(user.ok_or(IdentityError::NotFound("user"))?);
            let revision = self.log().head_in(&mut read, id).await?.revision.get();
            Ok::<_, IdentityError>(ResolveUserResponse {
                user,
                tailnet,
                revision,
            })
        };
        Ok(Response::new(resolved.await?))
    }

    async fn resolve_tailnet(
        &self,
        request: Request<ResolveTailnetRequest>,
    ) -> Result<Response<ResolveTailnetResponse>, Status> {
        let ResolveTailnetRequest {
            tailnet_id: id,
            name,
        } = request.into_inner();
        let mut read = self
            .log()
            .database()
            .begin_read()
            .await
            .map_err(IdentityError::from)?;
        let resolved = async {
            let found = match id {
                0 => store::find_tailnet_named(&mut *read, &name).await?,
                id => store::find_tailnet(&mut *read, id).await?,
            };
            let tailnet = found.ok_or(IdentityError::NotFound("tailnet"))?;
            let id = read_tailnet_id(tailnet.id)?;
            let revision = self.log().head_in(&mut read, id).await?.revision.get();
            Ok::<_, IdentityError>(ResolveTailnetResponse {
                tailnet: Some(tailnet),
                revision,
            })
        };
        Ok(Response::new(resolved.await?))
    }

    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<HeadsResponse>, Status> {
        let asked = request.into_inner().tailnet_ids.into_iter();
        let asked = asked.map(read_tailnet_id).collect::<Result<Vec<_>, _>>()?;
        let heads = self.log().answer_heads(&asked).await;
        Ok(Response::new(heads.map_err(IdentityError::from)?))
    }

    async fn changes_since(
        &self,
        request: Request<ChangesSinceRequest>,
    ) -> Result<Response<IdentityChanges>, Status> {
        let ChangesSinceRequest {
            tailnet_id: tailnet,
            revision,
            ..
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet)?;
        let page = self.log().read_page(tailnet, revision).await;
        let page = page.map_err(IdentityError::from)?;
        let heads = self.log().answer_heads(&[tailnet]).await;
        let heads = heads.map_err(IdentityError::from)?.heads;
        let compacted = page.is_none();
        Ok(Response::new(IdentityChanges {
            // None of them where some are compacted away.
            entries: page.map_or_else(Vec::new, |page| page.entries),
            from_revision: revision,
            head: heads.first().map_or(0, |head| head.revision),
            compacted,
        }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let id = read_tailnet_id(request.into_inner().tailnet_id)?;
        let mut read = self
            .log()
            .database()
            .begin_read()
            .await
            .map_err(IdentityError::from)?;
        let (tailnet, users, revision) = async {
            let tailnet = store::find_tailnet(&mut *read, id.get()).await?;
            let users = store::list_users(&mut *read, id.get()).await?;
            let revision = self.log().head_in(&mut read, id).await?.revision.get();
            Ok::<_, IdentityError>((tailnet, users, revision))
        }
        .await?;
        let mut chunks: Vec<_> = users
            .chunks(CHUNK)
            .map(|users| IdentitySnapshot {
                revision,
                users: users.to_vec(),
                ..Default::default()
            })
            .collect();
        if chunks.is_empty() {
            chunks.push(IdentitySnapshot {
                revision,
                ..Default::default()
            });
        }
        if let Some(first) = chunks.first_mut() {
            first.tailnet = tailnet;
        }
        if let Some(last) = chunks.last_mut() {
            last.last = true;
        }
        let chunks: Vec<_> = chunks.into_iter().map(Ok).collect();
        Ok(Response::new(tokio_stream::iter(chunks)))
    }
}
