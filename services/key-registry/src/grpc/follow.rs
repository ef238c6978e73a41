//! What gateways, the compiler and relays ask, and how they follow the log.

use std::collections::BTreeMap;

use bowline_db::Changes;
use bowline_ids::{Revision, TailnetId};
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, Head, HeadsRequest, HeadsResponse, SnapshotRequest},
    key_registry::v1::{
        RegistryChange, RegistryChanges, RegistrySnapshot, RenewLeaseRequest, RenewLeaseResponse,
        ReportNodesRequest, ReportNodesResponse, ResolveNodeRequest, ResolveNodeResponse,
        SoftState, key_registry_service_server::KeyRegistryService,
    },
};
use chrono::TimeDelta;
use prost::Message;
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use crate::{
    KeyRegistry, domain,
    error::RegistryError,
    registration::tailnet_id,
    store::{gateways, nodes, soft_states},
};

/// The most entries in one answer.
const MOST_ENTRIES: u32 = 1000;
/// The most nodes in one chunk of a snapshot.
const CHUNK: usize = 200;
/// How long a lease lives.
const LEASE: TimeDelta = TimeDelta::seconds(5);

#[tonic::async_trait]
impl KeyRegistryService for KeyRegistry {
    type SnapshotStream = Iter<std::vec::IntoIter<Result<RegistrySnapshot, Status>>>;

    async fn resolve_node(
        &self,
        request: Request<ResolveNodeRequest>,
    ) -> Result<Response<ResolveNodeResponse>, Status> {
        let mut read = self
            .log
            .database()
            .read()
            .await
            .map_err(RegistryError::from)?;
        let resolved = async {
            let found = nodes::by_key(&mut *read, &request.into_inner().node_key).await?;
            let node = found.ok_or(RegistryError::NotFound("node key"))?;
            let tailnet = tailnet_id(node.tailnet_id)?;
            let revision = self.log.head_in(&mut read, tailnet).await?.revision.get();
            Ok::<_, RegistryError>(ResolveNodeResponse {
                node: Some(node),
                revision,
            })
        };
        Ok(Response::new(resolved.await?))
    }

    async fn report_nodes(
        &self,
        request: Request<ReportNodesRequest>,
    ) -> Result<Response<ReportNodesResponse>, Status> {
        let results = KeyRegistry::report_nodes(self, request.into_inner().reports).await?;
        Ok(Response::new(ReportNodesResponse { results }))
    }

    async fn renew_lease(
        &self,
        request: Request<RenewLeaseRequest>,
    ) -> Result<Response<RenewLeaseResponse>, Status> {
        let RenewLeaseRequest {
            gateway,
            applied,
            leaving,
        } = request.into_inner();
        if gateway.is_empty() || gateway.len() > 100 || applied.len() > 100_000 {
            return Err(RegistryError::invalid("gateway", "is not named").into());
        }
        let renewed = self.log.database().write(move |write| {
            Box::pin(async move {
                let expires_at = write.now() + LEASE;
                if leaving {
                    gateways::forget(write.connection(), &gateway).await?;
                    return Ok(expires_at);
                }
                gateways::renew(write.connection(), &gateway, expires_at).await?;
                for head in applied {
                    let progress = gateways::progress(
                        write.connection(),
                        &gateway,
                        head.tailnet_id,
                        head.revision,
                    );
                    progress.await?;
                }
                Ok::<_, RegistryError>(expires_at)
            })
        });
        let expires_at = Some(domain::timestamp(renewed.await?));
        Ok(Response::new(RenewLeaseResponse { expires_at }))
    }

    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<HeadsResponse>, Status> {
        let asked = request.into_inner().tailnet_ids.into_iter().map(tailnet_id);
        let asked = asked.collect::<Result<Vec<TailnetId>, _>>()?;
        let heads = self.log.heads(&asked).await.map_err(RegistryError::from)?;
        let head = |head: bowline_db::Head| Head {
            tailnet_id: head.tailnet.get(),
            revision: head.revision.get(),
            soft_revision: head.soft_revision,
        };
        Ok(Response::new(HeadsResponse {
            heads: heads.into_iter().map(head).collect(),
        }))
    }

    async fn changes_since(
        &self,
        request: Request<ChangesSinceRequest>,
    ) -> Result<Response<RegistryChanges>, Status> {
        let request = request.into_inner();
        let tailnet = tailnet_id(request.tailnet_id)?;
        Ok(Response::new(self.changes(tailnet, &request).await?))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let tailnet = tailnet_id(request.into_inner().tailnet_id)?;
        let chunks = self.snapshot_chunks(tailnet).await?;
        let chunks: Vec<_> = chunks.into_iter().map(Ok).collect();
        Ok(Response::new(tokio_stream::iter(chunks)))
    }
}

impl KeyRegistry {
    async fn changes(
        &self,
        tailnet: TailnetId,
        request: &ChangesSinceRequest,
    ) -> Result<RegistryChanges, RegistryError> {
        // The head first: what is read after it is at least as new.
        let heads = self.log.heads(&[tailnet]).await?;
        let (head, soft_head) = heads
            .first()
            .map_or((0, 0), |head| (head.revision.get(), head.soft_revision));
        let since = Revision::new(request.revision);
        let entries = match self.log.changes_since(tailnet, since, MOST_ENTRIES).await? {
            Changes::Compacted => {
                return Ok(RegistryChanges {
                    compacted: true,
                    ..RegistryChanges::default()
                });
            }
            Changes::Entries(entries) => entries,
        };
        let entries = entries
            .iter()
            .map(|(_, entry)| RegistryChange::decode(&**entry));
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|_| {
            let row = tailnet.to_string();
            bowline_db::DatabaseError::Inconsistent {
                table: "change_log",
                row,
            }
        })?;
        let reader = self.log.database().reader();
        let limit = i64::from(MOST_ENTRIES);
        let soft = soft_states::since(reader, tailnet.get(), request.soft_revision, limit).await?;
        let whole = soft.len() < MOST_ENTRIES as usize;
        let last = soft.last().map_or(0, |state| state.soft_revision);
        // A batch that is cut off is asked for again from its beginning.
        let soft_through = if whole {
            soft_head.max(last)
        } else {
            last.saturating_sub(1)
        };
        Ok(RegistryChanges {
            entries,
            from_revision: request.revision,
            head,
            compacted: false,
            soft,
            soft_through: soft_through.max(request.soft_revision),
            soft_head,
        })
    }

    async fn snapshot_chunks(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<RegistrySnapshot>, RegistryError> {
        let mut read = self.log.database().read().await?;
        let nodes = nodes::of_tailnet(&mut *read, tailnet.get()).await?;
        let soft = soft_states::of_tailnet(&mut *read, tailnet.get()).await?;
        let head = self.log.head_in(&mut read, tailnet).await?;
        let (revision, soft_revision) = (head.revision.get(), head.soft_revision);
        let mut soft: BTreeMap<_, _> = soft
            .into_iter()
            .map(|state| (state.node_id, state))
            .collect();
        let empty = RegistrySnapshot {
            revision,
            soft_revision,
            ..RegistrySnapshot::default()
        };
        let mut chunks: Vec<_> = nodes
            .chunks(CHUNK)
            .map(|nodes| RegistrySnapshot {
                nodes: nodes.to_vec(),
                soft: nodes
                    .iter()
                    .map(|node| {
                        let unreported = SoftState {
                            node_id: node.id,
                            ..SoftState::default()
                        };
                        soft.remove(&node.id).unwrap_or(unreported)
                    })
                    .collect(),
                ..empty.clone()
            })
            .collect();
        if chunks.is_empty() {
            chunks.push(empty);
        }
        if let Some(last) = chunks.last_mut() {
            last.last = true;
        }
        Ok(chunks)
    }
}
