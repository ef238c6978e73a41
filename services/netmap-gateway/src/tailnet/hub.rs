//! All tailnets this gateway holds, and which of them a node key belongs to.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bowline_bus::Bus;
use bowline_change_feed::{Feed, IdentityLog, Position, RegistryLog};
use bowline_control_wire::DerpMap;
use bowline_ids::{NodeId, NodeOwner, TailnetId};
use bowline_keys::{MachinePublic, NodePublic};
use bowline_netmap::FilterSources;
use bowline_proto::key_registry::v1::{
    ResolveNodeNumberRequest, ResolveNodeRequest, ResolveNodeResponse,
    key_registry_service_client::KeyRegistryServiceClient,
};
use bowline_service_kit::{GrpcChannel, ServiceName, Tasks};
use parking_lot::Mutex;
use tonic::{Code, Status};

use super::{Progress, ProgressQueue, SharedIndexes, Tailnet, follower, follower::LogSources};
use crate::{
    Backends,
    listener::Holder,
    turns::{FairSemaphore, RequestOrigin},
};

/// A view nobody has used for this long is dropped.
const IDLE: Duration = Duration::from_secs(600);
/// How many unknown node keys the registry is asked for at once: bounded, because anybody can make such keys.
const MOST_LOOKUPS: usize = 64;
/// How long a further question waits for its turn.
const LOOKUP_WAIT: Duration = Duration::from_secs(3);

/// All tailnets of this gateway.
#[derive(Debug)]
pub struct TailnetHub {
    logs: LogSources,
    registry: GrpcChannel,
    derp_map: Arc<ArcSwap<DerpMap>>,
    sources: FilterSources,
    tasks: Tasks,
    tailnets: Mutex<BTreeMap<TailnetId, HeldTailnet>>,
    shared: SharedIndexes,
    lookups: Arc<FairSemaphore>,
}

#[derive(Debug)]
struct HeldTailnet {
    tailnet: Arc<Tailnet>,
    used: Instant,
}

/// Whom a machine's node key belongs to.
#[derive(Clone, Debug)]
pub enum NodeKeyOwner {
    /// A node of the machine.
    Node(LocatedNode),
    /// Nobody any more: it was the key of the machine's node with this number.
    Former(NodeId),
}

/// A node key's node.
#[derive(Clone, Debug)]
pub struct LocatedNode {
    /// Its tailnet.
    pub tailnet: Arc<Tailnet>,
    /// The node.
    pub node: NodeId,
    /// The owner of the node.
    pub owner: NodeOwner,
}

impl LocatedNode {
    /// Returns the node as the holder of a connection.
    pub(crate) fn holder(&self) -> Holder {
        Holder {
            owner: (self.tailnet.id, self.owner.clone()),
            node: self.node,
        }
    }
}

impl TailnetHub {
    /// Returns a hub without tailnets; they come with their clients.
    #[must_use]
    pub fn new(
        backends: &Backends,
        bus: &Bus,
        derp_map: DerpMap,
        sources: FilterSources,
        tasks: &Tasks,
    ) -> Self {
        let logs = LogSources {
            identity: Feed::start(
                IdentityLog::new(backends.identity.clone()),
                ServiceName::NetmapGateway,
                bus,
                tasks,
            ),
            registry: Feed::start(
                RegistryLog::new(backends.registry.clone()),
                ServiceName::NetmapGateway,
                bus,
                tasks,
            ),
            compiler: backends.compiler.clone(),
            compiler_outage: Arc::default(),
        };
        Self {
            logs,
            registry: backends.registry.clone(),
            derp_map: Arc::new(ArcSwap::from_pointee(derp_map)),
            sources,
            tasks: tasks.clone(),
            tailnets: Mutex::default(),
            shared: SharedIndexes::default(),
            lookups: FairSemaphore::new(MOST_LOOKUPS),
        }
    }

    /// Returns a tailnet, following it from now on.
    pub fn tailnet(&self, id: TailnetId) -> Arc<Tailnet> {
        let now = tokio::time::Instant::now().into_std();
        let mut tailnets = self.tailnets.lock();
        tailnets.retain(|_, held| {
            now.duration_since(held.used) < IDLE || held.tailnet.sessions.len() > 0
        });
        let held = tailnets.entry(id).or_insert_with(|| HeldTailnet {
            tailnet: self.start_following(id),
            used: now,
        });
        held.used = now;
        Arc::clone(&held.tailnet)
    }

    fn start_following(&self, id: TailnetId) -> Arc<Tailnet> {
        let derp_map = Arc::clone(&self.derp_map);
        let (tailnet, ends) = Tailnet::new(id, derp_map, self.sources, self.shared.clone());
        self.shared.progress_queue.note_advance(id);
        follower::start(&tailnet, &self.logs, ends, &self.tasks);
        tailnet
    }

    /// Returns the relays that clients are told of.
    #[must_use]
    pub fn relays(&self) -> Arc<DerpMap> {
        self.derp_map.load_full()
    }

    /// Replaces the relays, and tells every client.
    pub fn replace_relays(&self, derp_map: DerpMap) {
        let derp_map = derp_map.replacing(&self.derp_map.load());
        self.derp_map.store(Arc::new(derp_map));
        for tailnet in self.held_tailnets() {
            tailnet.note_relays_changed();
        }
    }

    /// Finds the node of a node key that belongs to a machine, or belonged to it.
    ///
    /// # Errors
    ///
    /// `NotFound` alike for an unknown key and for one of another machine; `Unavailable` when the registry has to
    /// be asked and can not be, `ResourceExhausted` when too many wait to ask it.
    pub async fn locate_node(
        &self,
        key: NodePublic,
        machine: MachinePublic,
        origin: RequestOrigin,
    ) -> Result<NodeKeyOwner, Status> {
        if let Some(located) = self.locate_here(key, machine)? {
            return Ok(NodeKeyOwner::Node(located));
        }
        let turn = self.lookups.acquire(origin, LOOKUP_WAIT).await;
        let _turn = turn.ok_or_else(crowded_status)?;
        let request = ResolveNodeRequest {
            node_key: key.as_bytes().to_vec(),
            machine_key: machine.as_bytes().to_vec(),
        };
        let mut client = KeyRegistryServiceClient::new(self.registry.clone());
        let answer = client.resolve_node(request).await?.into_inner();
        if let Some(former) = &answer.former
            && former.machine_key == machine.as_bytes()
        {
            let node = NodeId::try_from(former.node_id).map_err(|_| unknown_key_status())?;
            return Ok(NodeKeyOwner::Former(node));
        }
        self.follow_resolved(&answer, machine)
            .map(NodeKeyOwner::Node)
    }

    /// Finds a node of a machine by its number. `tailnet` is where it is known to be, if it is known.
    ///
    /// # Errors
    ///
    /// Those of [`TailnetHub::locate_node`].
    pub async fn locate_number(
        &self,
        number: NodeId,
        machine: MachinePublic,
        tailnet: Option<TailnetId>,
        origin: RequestOrigin,
    ) -> Result<LocatedNode, Status> {
        if let Some(id) = tailnet {
            let tailnet = self.tailnet(id);
            let view = tailnet.history.view();
            let shown = view.nodes.get(&number);
            let own = shown.filter(|shown| shown.node.machine_key == machine.as_bytes());
            if let Some(shown) = own {
                let owner = shown.node.owner();
                let node = number;
                return Ok(LocatedNode {
                    tailnet,
                    node,
                    owner,
                });
            }
        }
        let turn = self.lookups.acquire(origin, LOOKUP_WAIT).await;
        let _turn = turn.ok_or_else(crowded_status)?;
        let request = ResolveNodeNumberRequest {
            node_id: number.get(),
        };
        let mut client = KeyRegistryServiceClient::new(self.registry.clone());
        let answer = client.resolve_node_number(request).await?.into_inner();
        self.follow_resolved(&answer, machine)
    }

    /// Follows the tailnet of a node that the registry has found, if it is the machine's.
    fn follow_resolved(
        &self,
        answer: &ResolveNodeResponse,
        machine: MachinePublic,
    ) -> Result<LocatedNode, Status> {
        let node = answer.node.as_ref().ok_or_else(unknown_key_status)?;
        if node.machine_key != machine.as_bytes() {
            return Err(unknown_key_status());
        }
        let id = TailnetId::try_from(node.tailnet_id).map_err(|_| unknown_key_status())?;
        let number = NodeId::try_from(node.id).map_err(|_| unknown_key_status())?;
        let tailnet = self.tailnet(id);
        self.logs.registry.note_head(
            id,
            Position {
                revision: answer.revision,
                soft_revision: 0,
            },
        );
        Ok(LocatedNode {
            tailnet,
            node: number,
            owner: node.owner(),
        })
    }

    /// Finds the node of a node key that belongs to a machine, in the views held here and nowhere else.
    ///
    /// # Errors
    ///
    /// `NotFound` for a key of another machine.
    pub fn locate_here(
        &self,
        key: NodePublic,
        machine: MachinePublic,
    ) -> Result<Option<LocatedNode>, Status> {
        let Some(tailnet) = self.shared.keys.find_tailnet(key.as_bytes()) else {
            return Ok(None);
        };
        let view = tailnet.history.view();
        let found = view.node_by_key.get(&key.as_bytes()[..]);
        let Some(shown) = found.and_then(|id| view.nodes.get(id)) else {
            return Ok(None);
        };
        if shown.node.machine_key != machine.as_bytes() {
            return Err(unknown_key_status());
        }
        let (node, owner) = (shown.id, shown.node.owner());
        let used = self.mark_used(tailnet);
        Ok(used.map(|tailnet| LocatedNode {
            tailnet,
            node,
            owner,
        }))
    }

    /// Notes that a tailnet is in use; `None` when it is not held any more.
    fn mark_used(&self, tailnet: Arc<Tailnet>) -> Option<Arc<Tailnet>> {
        let mut tailnets = self.tailnets.lock();
        let held = tailnets.get_mut(&tailnet.id)?;
        if !Arc::ptr_eq(&held.tailnet, &tailnet) {
            return None;
        }
        held.used = tokio::time::Instant::now().into_std();
        Some(tailnet)
    }

    /// Notes that the registry has committed a revision which this gateway caused, so that it need not wait for the
    /// hint.
    pub fn hint_registry(&self, tailnet: TailnetId, revision: u64) {
        self.logs.registry.note_head(
            tailnet,
            Position {
                revision,
                soft_revision: 0,
            },
        );
    }

    /// Returns the tailnets whose progress the registry has to be told.
    #[must_use]
    pub fn progress_queue(&self) -> &ProgressQueue {
        &self.shared.progress_queue
    }

    /// Returns how far a tailnet has come, if it is held.
    #[must_use]
    pub fn progress(&self, id: TailnetId) -> Option<Progress> {
        let tailnets = self.tailnets.lock();
        tailnets.get(&id).map(|held| held.tailnet.progress())
    }

    /// Returns the tailnets held.
    #[must_use]
    pub fn held_tailnets(&self) -> Vec<Arc<Tailnet>> {
        let tailnets = self.tailnets.lock();
        tailnets
            .values()
            .map(|held| Arc::clone(&held.tailnet))
            .collect()
    }
}

fn crowded_status() -> Status {
    Status::resource_exhausted("too many unknown node keys are asked for at the moment")
}

fn unknown_key_status() -> Status {
    Status::new(
        Code::NotFound,
        "the node key is not known for this machine: log in again",
    )
}

#[cfg(test)]
mod tests;
