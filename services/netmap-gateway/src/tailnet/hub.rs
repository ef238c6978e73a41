//! All tailnets this gateway holds, and which of them a node key belongs to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bowline_bus::Bus;
use bowline_change_feed::{Feed, Identity, Position, Registry};
use bowline_control_wire::DerpMap;
use bowline_ids::TailnetId;
use bowline_keys::{MachinePublic, NodePublic};
use bowline_proto::key_registry::v1::{
    ResolveNodeRequest, key_registry_service_client::KeyRegistryServiceClient,
};
use bowline_service_kit::{GrpcChannel, Tasks};
use tokio::sync::{mpsc, watch};
use tonic::{Code, Status};

use super::{History, Progress, Sessions, Sources, Tailnet, follower, follower::Origins};
use crate::{
    Backends,
    encoding::{Blocks, DeltaCache},
};

/// A view nobody has used for this long is dropped.
const IDLE: Duration = Duration::from_secs(600);

/// All tailnets of this gateway.
#[derive(Debug)]
pub struct Hub {
    origins: Origins,
    registry: GrpcChannel,
    derp_map: Arc<ArcSwap<DerpMap>>,
    sources: Sources,
    tasks: Tasks,
    tailnets: Mutex<BTreeMap<TailnetId, Held>>,
}

#[derive(Debug)]
struct Held {
    tailnet: Arc<Tailnet>,
    used: Instant,
}

/// A node key's node.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its tailnet.
    pub tailnet: Arc<Tailnet>,
    /// The node.
    pub node: u64,
}

impl Hub {
    /// Returns a hub without tailnets; they come with their clients.
    #[must_use]
    pub fn new(
        backends: &Backends,
        bus: &Bus,
        (derp_map, sources): (DerpMap, Sources),
        tasks: &Tasks,
    ) -> Self {
        let origins = Origins {
            identity: Feed::start(Identity::new(backends.identity.clone()), bus, tasks),
            registry: Feed::start(Registry::new(backends.registry.clone()), bus, tasks),
            compiler: backends.compiler.clone(),
        };
        Self {
            origins,
            registry: backends.registry.clone(),
            derp_map: Arc::new(ArcSwap::from_pointee(derp_map)),
            sources,
            tasks: tasks.clone(),
            tailnets: Mutex::default(),
        }
    }

    /// Returns a tailnet, following it from now on.
    pub fn tailnet(&self, id: TailnetId) -> Arc<Tailnet> {
        let now = Instant::now();
        let mut tailnets = self.tailnets.lock().unwrap_or_else(PoisonError::into_inner);
        tailnets.retain(|_, held| {
            now.duration_since(held.used) < IDLE || held.tailnet.sessions.len() > 0
        });
        let held = tailnets.entry(id).or_insert_with(|| Held {
            tailnet: self.follow(id),
            used: now,
        });
        held.used = now;
        Arc::clone(&held.tailnet)
    }

    fn follow(&self, id: TailnetId) -> Arc<Tailnet> {
        let (inputs, received) = mpsc::unbounded_channel();
        let (sender, progress) = watch::channel(Progress::default());
        let tailnet = Arc::new(Tailnet {
            id,
            history: History::default(),
            sessions: Sessions::default(),
            deltas: DeltaCache::default(),
            blocks: Blocks::default(),
            derp_map: Arc::clone(&self.derp_map),
            sources: self.sources,
            inputs,
            progress,
        });
        follower::start(&tailnet, &self.origins, received, sender, &self.tasks);
        tailnet
    }

    /// Tells every client of other relays.
    pub fn tell_relays(&self, derp_map: DerpMap) {
        self.derp_map.store(Arc::new(derp_map));
        for tailnet in self.held() {
            tailnet.relays_changed();
        }
    }

    /// Finds the node of a node key that belongs to a machine.
    ///
    /// # Errors
    ///
    /// `NotFound` alike for an unknown key and for one of another machine; `Unavailable` when the registry has to
    /// be asked and can not be.
    pub async fn locate(&self, key: NodePublic, machine: MachinePublic) -> Result<Located, Status> {
        if let Some(located) = self.locate_here(key, machine)? {
            return Ok(located);
        }
        let request = ResolveNodeRequest {
            node_key: key.as_bytes().to_vec(),
        };
        let mut client = KeyRegistryServiceClient::new(self.registry.clone());
        let answer = client.resolve_node(request).await?.into_inner();
        let node = answer.node.ok_or_else(unknown)?;
        if node.machine_key != machine.as_bytes() {
            return Err(unknown());
        }
        let id = TailnetId::try_from(node.tailnet_id).map_err(|_| unknown())?;
        let tailnet = self.tailnet(id);
        self.origins.registry.hint(
            id,
            Position {
                revision: answer.revision,
                soft_revision: 0,
            },
        );
        Ok(Located {
            tailnet,
            node: node.id,
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
    ) -> Result<Option<Located>, Status> {
        let mut tailnets = self.tailnets.lock().unwrap_or_else(PoisonError::into_inner);
        for held in tailnets.values_mut() {
            let view = held.tailnet.history.view();
            let Some(shown) = view
                .keys
                .get(&key.as_bytes()[..])
                .and_then(|id| view.nodes.get(id))
            else {
                continue;
            };
            if shown.node.machine_key != machine.as_bytes() {
                return Err(unknown());
            }
            held.used = Instant::now();
            let tailnet = Arc::clone(&held.tailnet);
            return Ok(Some(Located {
                tailnet,
                node: shown.node.id,
            }));
        }
        Ok(None)
    }

    /// Says that the registry has committed a revision this gateway caused itself.
    pub fn hint(&self, tailnet: TailnetId, revision: u64) {
        self.origins.registry.hint(
            tailnet,
            Position {
                revision,
                soft_revision: 0,
            },
        );
    }

    /// Returns how far each tailnet held has come.
    #[must_use]
    pub fn applied(&self) -> BTreeMap<TailnetId, Progress> {
        let tailnets = self.tailnets.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = |(id, held): (&TailnetId, &Held)| (*id, held.tailnet.progress());
        tailnets.iter().map(progress).collect()
    }

    /// Follows a number that changes whenever the registry's answers are newly applied.
    #[must_use]
    pub fn held(&self) -> Vec<Arc<Tailnet>> {
        let tailnets = self.tailnets.lock().unwrap_or_else(PoisonError::into_inner);
        tailnets
            .values()
            .map(|held| Arc::clone(&held.tailnet))
            .collect()
    }
}

fn unknown() -> Status {
    Status::new(
        Code::NotFound,
        "the node key is not known for this machine: log in again",
    )
}
