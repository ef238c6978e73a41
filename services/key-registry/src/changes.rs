//! What followers read of the registry: its change log, soft states beside it, and snapshots.

use std::{collections::BTreeMap, sync::Arc};

use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, HeadsRequest, HeadsResponse},
    key_registry::v1::{RegistryChanges, RegistrySnapshot, SoftState},
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use prost::Message;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::{
    error::RegistryError,
    fields::read_tailnet_id,
    store::{nodes, soft_states},
    tailnet_lock::describe_lock,
};

/// How many bytes of nodes a chunk of a snapshot holds: one more may follow.
const MOST_BYTES: usize = 1 << 20;
/// How many snapshots are made and sent at the same time; others wait.
const MOST_SNAPSHOTS: usize = 4;

/// Reads the log for followers. Clones share it.
#[derive(Clone, Debug)]
pub struct RegistryChangesReader {
    log: ChangeLog,
    snapshots: Arc<Semaphore>,
}

/// What is read for a follower before the entries.
pub(crate) struct SoftPart {
    head: u64,
    soft_head: u64,
    page: soft_states::SoftPage,
}

impl RegistryChangesReader {
    pub(crate) fn new(log: ChangeLog) -> Self {
        let snapshots = Arc::new(Semaphore::new(MOST_SNAPSHOTS));
        Self { log, snapshots }
    }

    /// Reads the heads of tailnets.
    pub(crate) async fn read_heads(
        &self,
        request: &HeadsRequest,
    ) -> Result<HeadsResponse, RegistryError> {
        let asked = request.tailnet_ids.iter().copied().map(read_tailnet_id);
        let asked = asked.collect::<Result<Vec<_>, _>>()?;
        Ok(self.log.answer_heads(&asked).await?)
    }

    /// Reads a snapshot, and streams it in chunks; when too many are under way it waits for one of them to be sent.
    pub(crate) async fn stream_snapshot(
        &self,
        tailnet: TailnetId,
    ) -> Result<BoxStream<'static, Result<RegistrySnapshot, Status>>, Status> {
        let permit = Arc::clone(&self.snapshots).acquire_owned().await;
        let permit = permit.map_err(|_| Status::unavailable("the registry ends"))?;
        let chunks = self.snapshot_chunks(tailnet).await?;
        // The permit is given back once everything is sent.
        let sent = stream::iter(chunks).map(move |chunk| {
            let _ = &permit;
            Ok(chunk)
        });
        Ok(sent.boxed())
    }

    pub(crate) async fn read_changes(
        &self,
        tailnet: TailnetId,
        request: &ChangesSinceRequest,
    ) -> Result<RegistryChanges, RegistryError> {
        let soft = self.read_soft(tailnet, request).await?;
        if request.soft_revision > soft.soft_head {
            // It has soft states that are lost; entries that are lost the log finds by itself.
            self.log.note_follower_ahead(request.soft_revision).await?;
            return Ok(RegistryChanges {
                compacted: true,
                ..RegistryChanges::default()
            });
        }
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
        let Some(page) = self.log.read_page(tailnet, request.revision).await? else {
            return Ok(RegistryChanges {
                compacted: true,
                ..RegistryChanges::default()
            });
        };
        let mut answer = RegistryChanges {
            entries: page.entries,
            from_revision: request.revision,
            head: soft.head,
            compacted: false,
            soft: Vec::new(),
            soft_through: request.soft_revision,
            soft_head: soft.soft_head,
        };
        // Entries that follow may bring nodes of these soft states: they are sent with the last of them.
        if page.is_last {
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
        let lock = describe_lock(&mut *read, tailnet).await?;
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
        let first = RegistrySnapshot {
            lock,
            ..empty.clone()
        };
        let mut chunks = vec![first];
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
