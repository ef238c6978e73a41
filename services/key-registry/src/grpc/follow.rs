//! What gateways, the compiler and relays ask, and how they follow the log.

use std::{collections::BTreeMap, sync::Arc};

use bowline_db::Changes;
use bowline_ids::{Revision, TailnetId};
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, Head, HeadsRequest, HeadsResponse, SnapshotRequest},
    key_registry::v1::{
        RegistryChange, RegistryChanges, RegistrySnapshot, RenewLeaseRequest, RenewLeaseResponse,
        ReportNodesRequest, ReportNodesResponse, ReportProgressRequest, ReportProgressResponse,
        ResolveNodeRequest, ResolveNodeResponse, SoftState,
        key_registry_service_server::KeyRegistryService,
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
    registration::read_tailnet_id,
    store::{
        gateways::{self, LeaseRenewal, ProgressRow},
        nodes, soft_states,
    },
};

/// The most entries in one answer.
const MOST_ENTRIES: u32 = 1000;
/// How many bytes of entries an answer holds, and how many of nodes a chunk of a snapshot: one more may follow.
const MOST_BYTES: usize = 1 << 20;
/// How long a lease lives.
const LEASE: TimeDelta = TimeDelta::seconds(5);
/// How long the clients of a gateway that does not say may hold on to it without a lease.
const STALENESS: TimeDelta = TimeDelta::hours(1);
/// The most tailnets whose progress is recorded in one transaction.
const MOST_TAILNETS: usize = 1000;

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
            .begin_read()
            .await
            .map_err(RegistryError::from)?;
        let resolved = async {
            let node_key = request.into_inner().node_key;
            let Some(node) = nodes::by_key(&mut *read, &node_key).await? else {
                let former = nodes::holder_of_key(&mut *read, &node_key).await?;
                let former = former.ok_or(RegistryError::NotFound("node key"))?;
                return Ok(ResolveNodeResponse {
                    former: Some(former),
                    ..ResolveNodeResponse::default()
                });
            };
            let tailnet = read_tailnet_id(node.tailnet_id)?;
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
            slot,
            max_staleness_seconds,
        } = request.into_inner();
        check_gateway(&gateway)?;
        if slot.len() > 100 {
            return Err(RegistryError::invalid("slot", "is longer than 100 bytes").into());
        }
        let staleness = max_staleness_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let staleness = staleness.and_then(TimeDelta::try_seconds);
        let name = gateway.clone();
        let renewed = self.log.database().write(move |write| {
            Box::pin(async move {
                let now = write.now();
                if leaving {
                    gateways::end_lease(write.connection(), &name, now).await?;
                    return Ok((now, false));
                }
                let renewal = LeaseRenewal {
                    gateway: name,
                    slot,
                    staleness: staleness.unwrap_or(STALENESS),
                    now,
                    expires_at: now + LEASE,
                };
                let lapsed = gateways::renew_lease(write.connection(), &renewal).await?;
                Ok::<_, RegistryError>((renewal.expires_at, lapsed))
            })
        });
        let (expires_at, lapsed) = renewed.await?;
        // A gateway of an earlier release says all that it serves with its lease.
        if max_staleness_seconds.is_none() && !leaving {
            let registry = applied.iter().map(|head| ProgressRow {
                tailnet_id: head.tailnet_id,
                revision: Some(head.revision),
                identity_revision: None,
            });
            let identity = applied_identity.iter().map(|head| ProgressRow {
                tailnet_id: head.tailnet_id,
                revision: None,
                identity_revision: Some(head.revision),
            });
            let progress = [registry.collect(), identity.collect()];
            self.record_progress(gateway, progress.into(), dropped, true)
                .await?;
        }
        Ok(Response::new(RenewLeaseResponse {
            expires_at: Some(domain::to_timestamp(expires_at)),
            lapsed,
        }))
    }

    async fn report_progress(
        &self,
        request: Request<ReportProgressRequest>,
    ) -> Result<Response<ReportProgressResponse>, Status> {
        let ReportProgressRequest {
            gateway,
            progress,
            dropped,
            complete,
        } = request.into_inner();
        check_gateway(&gateway)?;
        if progress.len() > MOST_TAILNETS || dropped.len() > MOST_TAILNETS {
            let most = format!("is of more than {MOST_TAILNETS} tailnets");
            return Err(RegistryError::invalid("progress", most).into());
        }
        let progress = progress.iter().map(|one| ProgressRow {
            tailnet_id: one.tailnet_id,
            revision: Some(one.registry_revision),
            identity_revision: Some(one.identity_revision),
        });
        let progress = vec![progress.collect()];
        self.record_progress(gateway, progress, dropped, complete)
            .await?;
        Ok(Response::new(ReportProgressResponse {}))
    }

    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<HeadsResponse>, Status> {
        let asked = request
            .into_inner()
            .tailnet_ids
            .into_iter()
            .map(read_tailnet_id);
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
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        Ok(Response::new(self.read_changes(tailnet, &request).await?))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
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

fn check_gateway(gateway: &str) -> Result<(), RegistryError> {
    if gateway.is_empty() || gateway.len() > 100 {
        return Err(RegistryError::invalid(
            "gateway",
            "is not named, or by more than 100 bytes",
        ));
    }
    Ok(())
}

/// What is read for a follower before the entries.
pub(crate) struct SoftPart {
    head: u64,
    soft_head: u64,
    page: soft_states::SoftPage,
}

impl KeyRegistry {
    /// Records how far a gateway has come, a part of it in each transaction, and tells who waits for it.
    async fn record_progress(
        &self,
        gateway: String,
        progress: Vec<Vec<ProgressRow>>,
        dropped: Vec<u64>,
        complete: bool,
    ) -> Result<(), RegistryError> {
        let first = progress.iter().flatten().next().copied();
        let parts = progress
            .iter()
            .flat_map(|all| all.chunks(MOST_TAILNETS))
            .map(<[ProgressRow]>::to_vec);
        for part in parts.collect::<Vec<_>>() {
            let gateway = gateway.clone();
            let recording = self.log.database().write(move |write| {
                Box::pin(async move {
                    gateways::record_progress(write.connection(), &gateway, &part).await?;
                    Ok::<_, RegistryError>(())
                })
            });
            recording.await?;
        }
        if complete || !dropped.is_empty() {
            let recording = self.log.database().write(move |write| {
                Box::pin(async move {
                    gateways::drop_progress(write.connection(), &gateway, &dropped).await?;
                    if complete {
                        gateways::mark_complete(write.connection(), &gateway).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            });
            recording.await?;
        }
        if let Some(first) = first {
            let revision = first.revision.or(first.identity_revision).unwrap_or(0);
            self.progress
                .announce_progress(read_tailnet_id(first.tailnet_id)?, revision);
        }
        Ok(())
    }

    pub(crate) async fn read_changes(
        &self,
        tailnet: TailnetId,
        request: &ChangesSinceRequest,
    ) -> Result<RegistryChanges, RegistryError> {
        let soft = self.read_soft(tailnet, request).await?;
        self.read_entries(tailnet, request, soft).await
    }

    /// Reads the heads and the soft states: the first half of an answer.
    ///
    /// A soft state is committed after its node. So the soft states come first: the nodes of all of them are among
    /// the entries read afterwards, or among those the follower has.
    pub(crate) async fn read_soft(
        &self,
        tailnet: TailnetId,
        request: &ChangesSinceRequest,
    ) -> Result<SoftPart, RegistryError> {
        // The head before all: what is read after it is at least as new.
        let heads = self.log.heads(&[tailnet]).await?;
        let (head, soft_head) = heads
            .first()
            .map_or((0, 0), |head| (head.revision.get(), head.soft_revision));
        let reader = self.log.database().reader();
        let page = soft_states::list_since(reader, tailnet.get(), request.soft_revision).await?;
        Ok(SoftPart {
            head,
            soft_head,
            page,
        })
    }

    /// Reads the entries: the second half of an answer.
    pub(crate) async fn read_entries(
        &self,
        tailnet: TailnetId,
        request: &ChangesSinceRequest,
        soft: SoftPart,
    ) -> Result<RegistryChanges, RegistryError> {
        let since = Revision::new(request.revision);
        let found = match self.log.changes_since(tailnet, since, MOST_ENTRIES).await? {
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
        let entries = found
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
        let may_go_on = entries.len() < found.len() || found.len() == MOST_ENTRIES as usize;
        let mut answer = RegistryChanges {
            entries,
            from_revision: request.revision,
            head: soft.head,
            compacted: false,
            soft: Vec::new(),
            soft_through: request.soft_revision,
            soft_head: soft.soft_head,
        };
        // Entries that follow may bring nodes of these soft states: they are sent with the last of them.
        if !may_go_on {
            let last = soft.page.states.last();
            let last = last.map_or(0, |state| state.soft_revision);
            let through = soft.page.through.unwrap_or(soft.soft_head.max(last));
            answer.soft = soft.page.states;
            answer.soft_through = through.max(request.soft_revision);
        }
        Ok(answer)
    }

    async fn snapshot_chunks(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<RegistrySnapshot>, RegistryError> {
        let mut read = self.log.database().begin_read().await?;
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
