//! What a gateway would tell the clients of a history: the real copy that gateways keep, fed from the real logs.

use std::{collections::BTreeSet, sync::Arc};

use bowline_change_feed::{Fetched, IdentityLog, LogSource as _, Position, RegistryLog};
use bowline_control_wire::DerpMap;
use bowline_ids::{NodeId, TailnetId};
use bowline_netmap::{FilterSources, Replica, View, build_full};
use bowline_proto::{
    key_registry::v1::{Node, registry_change::Change},
    policy::v1::{
        CompiledUpdate, WatchCompiledRequest,
        policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use chrono::{DateTime, Utc};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::services::{PATIENCE, TestReplicas};

/// A gateway's copy of one tailnet.
pub struct GatewayCopy {
    tailnet: TailnetId,
    replica: Replica,
    view: Arc<View>,
    registry: Option<Position>,
    identity: Option<Position>,
    compiled: Streaming<CompiledUpdate>,
    /// The registry and identity revisions that the newest compiled policy knows.
    compiled_from: (u64, u64),
}

impl GatewayCopy {
    /// Starts to follow a tailnet.
    pub async fn start(services: &TestReplicas, tailnet_id: u64) -> Self {
        let mut compiler = PolicyCompilerServiceClient::new(services.owners_gateway());
        let watch = compiler.watch_compiled(WatchCompiledRequest { tailnet_id });
        Self {
            tailnet: TailnetId::try_from(tailnet_id).unwrap(),
            replica: Replica::new(FilterSources::Addresses),
            view: Arc::default(),
            registry: None,
            identity: None,
            compiled: watch.await.unwrap().into_inner(),
            compiled_from: (0, 0),
        }
    }

    /// Applies what identity's log has.
    ///
    /// # Errors
    ///
    /// When it can not be read.
    pub async fn follow_identity(&mut self, services: &TestReplicas) -> Result<(), Status> {
        let log = IdentityLog::new(services.owners_gateway());
        if let Some(position) = self.identity
            && let Fetched::Changes(changes, reached) =
                log.fetch_changes(self.tailnet, position).await?
        {
            let revision = reached.revision;
            self.replica
                .apply_identity_changes(changes.entries, revision);
            self.identity = Some(reached);
        } else {
            let snapshot = log.fetch_snapshot(self.tailnet).await?;
            self.replica.apply_identity_snapshot(snapshot.chunks);
            self.identity = Some(snapshot.position);
        }
        self.publish();
        Ok(())
    }

    /// Applies what the registry's log has, as a replica of it says; `alter` may change what it says of a node.
    ///
    /// # Errors
    ///
    /// When it can not be read.
    pub async fn follow_registry(
        &mut self,
        services: &TestReplicas,
        replica: usize,
        alter: impl Fn(&mut Node),
    ) -> Result<(), Status> {
        let log = RegistryLog::new(services.gateway(replica));
        loop {
            if let Some(position) = self.registry
                && let Fetched::Changes(mut changes, reached) =
                    log.fetch_changes(self.tailnet, position).await?
            {
                for entry in &mut changes.entries {
                    if let Some(Change::Node(node)) = &mut entry.change {
                        alter(node);
                    }
                }
                let is_last = reached.revision >= changes.head;
                self.replica.apply_registry_answer(changes);
                self.registry = Some(reached);
                if is_last {
                    break;
                }
            } else {
                let mut snapshot = log.fetch_snapshot(self.tailnet).await?;
                let chunks = snapshot.chunks.iter_mut();
                chunks.flat_map(|chunk| &mut chunk.nodes).for_each(&alter);
                self.replica.apply_registry_snapshot(snapshot.chunks);
                self.registry = Some(snapshot.position);
                break;
            }
        }
        self.publish();
        Ok(())
    }

    /// Waits for a policy that was compiled from everything that the copy has.
    pub async fn follow_policy(&mut self) {
        let wanted = (
            self.replica.registry_revision(),
            self.replica.identity_revision(),
        );
        while self.compiled_from.0 < wanted.0 || self.compiled_from.1 < wanted.1 {
            let update = timeout(PATIENCE, self.compiled.message()).await;
            let update = update.expect("the compiler catches up").unwrap().unwrap();
            let (stamp, is_last) = (update.stamp, update.last);
            let mut parts = vec![update];
            if !is_last {
                parts.extend(self.collect_parts().await);
            }
            self.replica.apply_compiled(parts);
            if let Some(stamp) = stamp {
                self.compiled_from = (stamp.registry_revision, stamp.identity_revision);
            }
        }
        self.publish();
    }

    async fn collect_parts(&mut self) -> Vec<CompiledUpdate> {
        let mut parts = Vec::new();
        loop {
            let update = timeout(PATIENCE, self.compiled.message()).await;
            let update = update.expect("the update is whole").unwrap().unwrap();
            let is_last = update.last;
            parts.push(update);
            if is_last {
                return parts;
            }
        }
    }

    fn publish(&mut self) {
        if let Some((view, _)) = self.replica.publish() {
            self.view = view;
        }
    }

    /// Returns the nodes whose keys peers may be offered, by id, with their keys.
    pub fn offered_nodes(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let offered = self.view.nodes.values().filter(|shown| shown.offered);
        offered.map(|shown| (shown.id.get(), &*shown.node.node_key))
    }

    /// Returns how many nodes there are.
    #[must_use]
    pub fn count_nodes(&self) -> usize {
        self.view.nodes.len()
    }

    /// Returns the peers' keys that the client of a node is told in its first message; `None` while it gets none.
    #[must_use]
    pub fn peers_told(&self, node_id: u64, now: DateTime<Utc>) -> Option<BTreeSet<Vec<u8>>> {
        let id = NodeId::try_from(node_id).ok()?;
        let told = build_full(&self.view, id, &DerpMap::default(), now)?;
        let peers = told.peers.iter();
        Some(peers.map(|peer| peer.key.as_bytes().to_vec()).collect())
    }
}
