//! The relay as its owner holds it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_ids::{NodeOwner, TailnetId};
use bowline_keys::{NodePublic, PrivateKey};
use bowline_service_kit::connection_slots::{ConnectionSlots, SlotHandle, SlotHolder, SlotLimits};
use bowline_service_kit::retry_window::RetryWindow;
use crypto_box::SecretKey;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{AdmissionCache, NodeAdmission};
use crate::limits::Limits;
use crate::meters::Meters;
use crate::peers::PeerTable;
use crate::{listener, reflector, routes};

/// Time a connection has, after the drain, to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many connections one node may have: the newest is its only one, those before it are on their way out.
const CONNECTIONS_OF_NODE: usize = 4;

/// A node that is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServedNode {
    pub(crate) owner: (TailnetId, NodeOwner),
    pub(crate) node: NodePublic,
}

impl SlotHolder for ServedNode {
    type Owner = (TailnetId, NodeOwner);

    fn owner(&self) -> Self::Owner {
        self.owner.clone()
    }
}

/// The slot of a connection, settled once its client is admitted.
pub(crate) type RelaySlot = SlotHandle<ServedNode>;

/// What a relay is made from.
pub struct RelayOptions {
    /// The relay's own key: clients seal their introduction for it and take it from the greeting, so that a fresh
    /// one for each process will do.
    pub private_key: PrivateKey,
    /// Whom the relay serves.
    pub admission: Arc<dyn NodeAdmission>,
    /// What clients may cost.
    pub limits: Limits,
}

/// The sockets of a relay that listens by itself.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where DERP and its probes are served.
    pub http: Vec<TcpListener>,
    /// Where STUN is answered.
    pub stun: Vec<UdpSocket>,
}

/// A DERP relay; clones are the same relay.
#[derive(Clone)]
pub struct Relay(Arc<RelayState>);

pub(crate) struct RelayState {
    pub(crate) secret: SecretKey,
    pub(crate) public_key: NodePublic,
    pub(crate) limits: Limits,
    pub(crate) admission: AdmissionCache,
    pub(crate) peers: Arc<PeerTable>,
    pub(crate) slots: Arc<ConnectionSlots<ServedNode>>,
    pub(crate) retry: Mutex<RetryWindow>,
    pub(crate) meters: Meters,
    /// Every task that holds a connection.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when no more clients are taken and those served are to be told.
    pub(crate) draining: CancellationToken,
    /// Cancelled when time is up for everyone.
    pub(crate) closed: CancellationToken,
}

impl Relay {
    /// Makes a relay that serves nobody yet. Install the metrics recorder first.
    #[must_use]
    pub fn new(options: RelayOptions) -> Self {
        let RelayOptions {
            private_key,
            admission,
            limits,
        } = options;
        Self(Arc::new(RelayState {
            secret: SecretKey::from(*private_key.expose_bytes()),
            public_key: NodePublic::from_bytes(private_key.public_bytes()),
            admission: AdmissionCache::new(admission, &limits),
            peers: Arc::default(),
            slots: ConnectionSlots::new(SlotLimits {
                all: limits.connections,
                of_one_holder: CONNECTIONS_OF_NODE,
            }),
            retry: Mutex::default(),
            meters: Meters::new(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            closed: CancellationToken::new(),
            limits,
        }))
    }

    /// Returns the relay's public key, as the greeting tells it.
    #[must_use]
    pub fn public_key(&self) -> NodePublic {
        self.0.public_key
    }

    /// Returns the routes `/derp`, `/derp/probe`, `/derp/latency-check` and `/generate_204`, to be mounted on an HTTP/1.1
    /// server that supports upgrades and gives each request its `ConnectInfo<SocketAddr>`. Call [`Self::drain`] when that
    /// server ends.
    pub fn router(&self) -> axum::Router {
        routes::router(self.clone())
    }

    /// Serves the sockets until `shutdown`, then drains. Without `tls`, DERP is served as plain HTTP.
    pub fn serve(
        &self,
        sockets: Sockets,
        tls: Option<Arc<ServerConfig>>,
        shutdown: CancellationToken,
    ) -> BoxFuture<'_, ()> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let tls = tls.map(listener::http1_only);
            let mut loops = JoinSet::new();
            for socket in sockets.http {
                loops.spawn(listener::accept_connections(
                    self.clone(),
                    socket,
                    tls.clone(),
                ));
            }
            for socket in sockets.stun {
                loops.spawn(reflector::answer_requests(self.clone(), socket));
            }
            shutdown.cancelled().await;
            loops.shutdown().await;
            self.drain().await;
        })
    }

    /// Takes no more clients, asks those connected to reconnect, and ends their connections spread over
    /// [`Limits::drain`]. Returns when all have ended; the relay stays closed.
    pub async fn drain(&self) {
        self.0.draining.cancel();
        self.0.tasks.close();
        if timeout(self.0.limits.drain + LAST_WORDS, self.0.tasks.wait())
            .await
            .is_err()
        {
            self.0.closed.cancel();
            self.0.tasks.wait().await;
        }
    }

    pub(crate) fn state(&self) -> &RelayState {
        &self.0
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}
