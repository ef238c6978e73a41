//! The owners of change logs, as a follower asks them.

use std::time::Duration;

use async_trait::async_trait;
use bowline_bus::LogOwner;
use bowline_ids::TailnetId;
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, Head, HeadsRequest, SnapshotRequest},
    identity::v1::{
        IdentityChanges, IdentitySnapshot, identity_service_client::IdentityServiceClient,
    },
    key_registry::v1::{
        RegistryChanges, RegistrySnapshot, key_registry_service_client::KeyRegistryServiceClient,
    },
};
use bowline_service_kit::GrpcChannel;
use tonic::{Request, Status, Streaming};

/// The longest answer of an owner: owners cut theirs well before, but for what one batch wrote in one piece.
const LONGEST_MESSAGE: usize = 32 << 20;

/// How long heads are waited for, and entries.
const HEADS_TIMEOUT: Duration = Duration::from_secs(1);
const CHANGES_TIMEOUT: Duration = Duration::from_secs(3);

/// How far a follower has come in one owner's log of one tailnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last hard-state entry applied.
    pub revision: u64,
    /// The last soft-state batch applied; stays zero for an owner without soft state.
    pub soft_revision: u64,
}

impl Position {
    /// Returns what is later of each.
    #[must_use]
    pub(crate) fn or_later(self, other: Self) -> Self {
        Self {
            revision: self.revision.max(other.revision),
            soft_revision: self.soft_revision.max(other.soft_revision),
        }
    }

    /// Says whether the owner has something newer.
    #[must_use]
    pub fn is_behind(self, head: Self) -> bool {
        self.revision < head.revision || self.soft_revision < head.soft_revision
    }
}

/// The entries after a position.
#[derive(Debug)]
pub enum Fetched<C> {
    /// The entries, and the position they lead to.
    Changes(C, Position),
    /// The entries were compacted away: a snapshot is needed.
    Compacted,
}

/// Everything of one tailnet as of one position.
#[derive(Debug)]
pub struct Snapshot<S> {
    /// The chunks in the order they came; always complete.
    pub chunks: Vec<S>,
    /// What they show.
    pub position: Position,
}

/// An owner of hard state, asked over gRPC.
#[async_trait]
pub trait LogSource: Clone + Send + Sync + 'static {
    /// The owner, as the bus names it.
    const OWNER: LogOwner;
    /// The answer to `ChangesSince`.
    type Changes: Send + 'static;
    /// One chunk of a snapshot.
    type Chunk: Send + 'static;

    /// Returns the heads of these tailnets, in their order.
    async fn fetch_heads(&self, tailnets: Vec<u64>) -> Result<Vec<Head>, Status>;

    /// Returns what came after `position`.
    async fn fetch_changes(
        &self,
        tailnet: TailnetId,
        position: Position,
    ) -> Result<Fetched<Self::Changes>, Status>;

    /// Returns everything; an incomplete stream is an error.
    async fn fetch_snapshot(&self, tailnet: TailnetId) -> Result<Snapshot<Self::Chunk>, Status>;
}

/// Returns a request that is given up after a while: another replica answers the next.
fn request_within<T>(patience: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}

fn changes_request(tailnet: TailnetId, position: Position) -> ChangesSinceRequest {
    ChangesSinceRequest {
        tailnet_id: tailnet.get(),
        revision: position.revision,
        soft_revision: position.soft_revision,
    }
}

/// Reads a snapshot to its end.
async fn collect_snapshot<S>(
    mut stream: Streaming<S>,
    describe: impl Fn(&S) -> (Position, bool),
) -> Result<Snapshot<S>, Status> {
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await? {
        let (position, last) = describe(&chunk);
        chunks.push(chunk);
        if last {
            return Ok(Snapshot { chunks, position });
        }
    }
    Err(Status::unavailable(
        "the snapshot ended before its last chunk",
    ))
}

/// The identity service.
#[derive(Clone, Debug)]
pub struct IdentityLog(IdentityServiceClient<GrpcChannel>);

impl IdentityLog {
    /// Asks over `channel`.
    #[must_use]
    pub fn new(channel: GrpcChannel) -> Self {
        Self(IdentityServiceClient::new(channel).max_decoding_message_size(LONGEST_MESSAGE))
    }
}

#[async_trait]
impl LogSource for IdentityLog {
    const OWNER: LogOwner = LogOwner::Identity;
    type Changes = IdentityChanges;
    type Chunk = IdentitySnapshot;

    async fn fetch_heads(&self, tailnet_ids: Vec<u64>) -> Result<Vec<Head>, Status> {
        Ok(self
            .0
            .clone()
            .heads(request_within(HEADS_TIMEOUT, HeadsRequest { tailnet_ids }))
            .await?
            .into_inner()
            .heads)
    }

    async fn fetch_changes(
        &self,
        tailnet: TailnetId,
        position: Position,
    ) -> Result<Fetched<IdentityChanges>, Status> {
        let request = request_within(CHANGES_TIMEOUT, changes_request(tailnet, position));
        let changes = self.0.clone().changes_since(request).await?.into_inner();
        if changes.compacted {
            return Ok(Fetched::Compacted);
        }
        let revision = changes.from_revision + changes.entries.len() as u64;
        Ok(Fetched::Changes(
            changes,
            Position {
                revision,
                soft_revision: 0,
            },
        ))
    }

    async fn fetch_snapshot(
        &self,
        tailnet: TailnetId,
    ) -> Result<Snapshot<IdentitySnapshot>, Status> {
        let request = SnapshotRequest {
            tailnet_id: tailnet.get(),
        };
        let stream = self.0.clone().snapshot(request).await?.into_inner();
        collect_snapshot(stream, |chunk| {
            (
                Position {
                    revision: chunk.revision,
                    soft_revision: 0,
                },
                chunk.last,
            )
        })
        .await
    }
}

/// The key-registry service.
#[derive(Clone, Debug)]
pub struct RegistryLog(KeyRegistryServiceClient<GrpcChannel>);

impl RegistryLog {
    /// Asks over `channel`.
    #[must_use]
    pub fn new(channel: GrpcChannel) -> Self {
        Self(KeyRegistryServiceClient::new(channel).max_decoding_message_size(LONGEST_MESSAGE))
    }
}

#[async_trait]
impl LogSource for RegistryLog {
    const OWNER: LogOwner = LogOwner::KeyRegistry;
    type Changes = RegistryChanges;
    type Chunk = RegistrySnapshot;

    async fn fetch_heads(&self, tailnet_ids: Vec<u64>) -> Result<Vec<Head>, Status> {
        Ok(self
            .0
            .clone()
            .heads(request_within(HEADS_TIMEOUT, HeadsRequest { tailnet_ids }))
            .await?
            .into_inner()
            .heads)
    }

    async fn fetch_changes(
        &self,
        tailnet: TailnetId,
        position: Position,
    ) -> Result<Fetched<RegistryChanges>, Status> {
        let request = request_within(CHANGES_TIMEOUT, changes_request(tailnet, position));
        let changes = self.0.clone().changes_since(request).await?.into_inner();
        if changes.compacted {
            return Ok(Fetched::Compacted);
        }
        let position = Position {
            revision: changes.from_revision + changes.entries.len() as u64,
            soft_revision: changes.soft_through.max(position.soft_revision),
        };
        Ok(Fetched::Changes(changes, position))
    }

    async fn fetch_snapshot(
        &self,
        tailnet: TailnetId,
    ) -> Result<Snapshot<RegistrySnapshot>, Status> {
        let request = SnapshotRequest {
            tailnet_id: tailnet.get(),
        };
        let stream = self.0.clone().snapshot(request).await?.into_inner();
        collect_snapshot(stream, |chunk| {
            let position = Position {
                revision: chunk.revision,
                soft_revision: chunk.soft_revision,
            };
            (position, chunk.last)
        })
        .await
    }
}
