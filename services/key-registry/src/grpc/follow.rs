//! What gateways, the compiler and relays ask, and how they follow the log.

use std::{collections::BTreeMap, sync::Arc};

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
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::{
    KeyRegistry, domain,
    error::RegistryError,
    registration::tailnet_id,
    store::{
        gateways::{self, Log},
        nodes, soft_states,
    },
};

/// The most entries in one answer.
const MOST_ENTRIES: u32 = 1000;
/// How many bytes of entries an answer holds, and how many of nodes a chunk of a snapshot: one more may follow.
const MOST_BYTES: usize = 1 << 20;
/// How long a lease lives.
const LEASE: TimeDelta = TimeDelta::seconds(5);

#[tonic::async_trait]
impl KeyRegistryService for KeyRegistry {
    type SnapshotStream = BoxStream<'static, Result<RegistrySnapshot, Status>>;

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
            let node_key = request.into_inner().node_key;
            let Some(node) = nodes::by_key(&mut *read, &node_key).await? else {
                let former = nodes::key_holder(&mut *read, &node_key).await?;
                let former = former.ok_or(RegistryError::NotFound("node key"))?;
                return Ok(ResolveNodeResponse {
                    former: Some(former),
                    ..ResolveNodeResponse::default()
                });
            };
            let tailnet = tailnet_id(node.tailnet_id)?;
            let revision = self.log.head_in(&mut read, tailnet).await?.revision.get();
            Ok::<_, RegistryError>(ResolveNodeResponse {
                node: Some(node),
                revision,
                former: None,
            })
        };
        Ok(Response::new(resolved.await?))
    }

    async fn report_nodes(
        &self,
        request: Request<ReportNodesRequest>,
    ) -> Result<Response<ReportNodesResponse>, Status> {
        let ReportNodesRequest { reports, gateway } = request.into_inner();
        let results = KeyRegistry::report_nodes(self, gateway, reports).await?;
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
            applied_identity,
            dropped,
        } = request.into_inner();
        if gateway.is_empty() || gateway.len() > 100 || applied.len() > 100_000 {
            return Err(RegistryError::invalid("gateway", "is not named").into());
        }
        let renewed = self.log.database().write(move |write| {
            Box::pin(async move {
                let now = write.now();
                let expires_at = now + LEASE;
                if leaving {
                    gateways::leave(write.connection(), &gateway, now).await?;
                    return Ok((now, false));
                }
                let before = gateways::lease(write.connection(), &gateway).await?;
                let lapsed = before.is_none_or(|end| end < bowline_db::to_micros(now));
                gateways::renew(write.connection(), &gateway, expires_at).await?;
                for tailnet in dropped {
                    gateways::drop_progress(write.connection(), &gateway, tailnet).await?;
                }
                for (log, heads) in [(Log::Registry, applied), (Log::Identity, applied_identity)] {
                    for Head {
                        tailnet_id,
                        revision,
                        ..
                    } in heads
                    {
                        let on = write.connection();
                        gateways::progress(on, &gateway, log, tailnet_id, revision).await?;
                    }
                }
                Ok::<_, RegistryError>((expires_at, lapsed))
            })
        });
        let (expires_at, lapsed) = renewed.await?;
        Ok(Response::new(RenewLeaseResponse {
            expires_at: Some(domain::timestamp(expires_at)),
            lapsed,
        }))
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
        let seat = Arc::clone(&self.snapshots).acquire_owned().await;
        let seat = seat.map_err(|_| Status::unavailable("the registry ends"))?;
        let chunks = self.snapshot_chunks(tailnet).await?;
        // The seat is free again once everything is sent.
        let sent = stream::iter(chunks).map(move |chunk| {
            let _ = &seat;
            Ok(chunk)
        });
        Ok(Response::new(sent.boxed()))
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
        let mut bytes = 0;
        let fits = |(_, entry): &&(Revision, Vec<u8>)| {
            let fits = bytes < MOST_BYTES;
            bytes += entry.len();
            fits
        };
        let entries = entries
            .iter()
            .take_while(fits)
            .map(|(_, entry)| RegistryChange::decode(&**entry));
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|_| {
            let row = tailnet.to_string();
            bowline_db::DatabaseError::Inconsistent {
                table: "change_log",
                row,
            }
        })?;
        let reader = self.log.database().reader();
        let page = soft_states::since(reader, tailnet.get(), request.soft_revision).await?;
        let last = page.states.last().map_or(0, |state| state.soft_revision);
        let soft_through = page.through.unwrap_or(soft_head.max(last));
        Ok(RegistryChanges {
            entries,
            from_revision: request.revision,
            head,
            compacted: false,
            soft: page.states,
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
        let mut chunks = vec![empty.clone()];
        let mut bytes = 0;
        for node in nodes {
            let unreported = SoftState {
                node_id: node.id,
                ..SoftState::default()
            };
            let soft = soft.remove(&node.id).unwrap_or(unreported);
            if bytes >= MOST_BYTES {
                chunks.push(empty.clone());
                bytes = 0;
            }
            bytes += node.encoded_len() + soft.encoded_len();
            if let Some(chunk) = chunks.last_mut() {
                chunk.nodes.push(node);
                chunk.soft.push(soft);
            }
        }
        if let Some(last) = chunks.last_mut() {
            last.last = true;
        }
        Ok(chunks)
    }
}
