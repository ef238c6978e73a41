use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_ids::{NodeOwner, TailnetId, UserId};
use bowline_keys::PrivateKey;
use bowline_relay::{AdmittedNode, AllowAll, Limits, NodeAdmission, Relay, RelayOptions, Sockets};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Time by which whatever a test waits for has happened.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A relay on loopback sockets of its own.
pub(crate) struct Server {
    pub(crate) relay: Relay,
    pub(crate) http: SocketAddr,
    pub(crate) stun: Vec<SocketAddr>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

/// Limits under which nothing but what a test asks for takes long.
pub(crate) fn limits() -> Limits {
    Limits {
        drain: Duration::from_millis(50),
        ..Limits::default()
    }
}

pub(crate) fn tailnet(number: u64) -> TailnetId {
    TailnetId::try_from(number).unwrap()
}

/// How the nodes of a user are served.
pub(crate) fn admitted(tailnet: u64, user: u64) -> AdmittedNode {
    AdmittedNode {
        tailnet: self::tailnet(tailnet),
        owner: NodeOwner::User(UserId::try_from(user).unwrap()),
    }
}

pub(crate) fn everyone() -> Arc<dyn NodeAdmission> {
    Arc::new(AllowAll(admitted(1, 1)))
}

pub(crate) fn relay(admission: Arc<dyn NodeAdmission>, limits: Limits) -> Relay {
    let private_key = PrivateKey::from_random(bowline_clock::random_bytes());
    Relay::new(RelayOptions {
        private_key,
        admission,
        limits,
    })
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(relay(everyone(), limits()), None).await
    }

    pub(crate) async fn limited(limits: Limits) -> Self {
        Self::with(relay(everyone(), limits), None).await
    }

    pub(crate) async fn with(relay: Relay, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let v4 = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let v6 = UdpSocket::bind("[::1]:0").await.ok();
        let stun: Vec<_> = [Some(v4), v6].into_iter().flatten().collect();

        let shutdown = CancellationToken::new();
        let http_address = http.local_addr().unwrap();
        let stun_addresses = stun
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        let serving = tokio::spawn({
            let (relay, shutdown) = (relay.clone(), shutdown.clone());
            let sockets = Sockets {
                http: vec![http],
                stun,
            };
            async move { relay.serve(sockets, tls, shutdown).await }
        });
        Self {
            relay,
            http: http_address,
            stun: stun_addresses,
            shutdown,
            serving,
        }
    }

    /// Asks the relay to end; [`Self::ended`] waits for it.
    pub(crate) fn shut_down(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn ended(self) {
        timeout(SOON, self.serving)
            .await
            .expect("the relay ends")
            .unwrap();
    }
}
