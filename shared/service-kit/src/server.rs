//! The gRPC server of a service: TLS with client certificates for everybody, a local socket for administrators.

use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::layer::util::{Identity, Stack};

use crate::certificates::accept_trusted;
use crate::connection_slots::{ConnectionSlots, SlotLimits, SlotStream};
use crate::meter::MeterLayer;
use crate::trace::TraceLayer;
use crate::{
    AccessRules, CallerVersions, Certificates, Shutdown, TokenVerifier, descriptors, error_text,
    listen_tcp, listen_unix,
};

/// How many calls one connection may have open; streams and calls that wait for a person count.
const STREAMS: u32 = 16_384;

/// How much of one stream, and of one connection, may be under way: a snapshot is not held up by round trips.
pub(crate) const WINDOWS: (u32, u32) = (1 << 20, 8 << 20);

/// How many connections other services and administrators may have over TCP, where there are files for as many.
const CONNECTIONS: usize = 1024;

/// How many connections administrators may have on the local socket.
const ADMIN_CONNECTIONS: usize = 64;

/// How long accepting rests after a failure: out of files, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a call may take until its response headers, whatever the caller would wait.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// Where a service listens.
#[derive(Debug, Default)]
pub struct Listeners {
    tcp: Option<(TcpListener, Certificates)>,
    admin: Option<UnixListener>,
    /// What is asked about at the health service besides the whole, and how it is.
    health: Vec<(&'static str, bool)>,
    tokens: Option<TokenVerifier>,
    versions: CallerVersions,
}

/// Why a service can not listen.
#[derive(Debug, thiserror::Error)]
#[error("can not listen on {address}")]
pub struct ListenError {
    address: String,
    source: std::io::Error,
}

/// Why a server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptor set does not parse.
    #[error("the descriptor set of the contracts does not parse")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// A listener failed.
    #[error("the gRPC server failed: {}", error_text(.0))]
    Transport(#[from] tonic::transport::Error),
}

impl Listeners {
    /// Adds TLS over TCP: callers prove themselves with certificates of the same authority.
    ///
    /// # Errors
    ///
    /// When the address is not free.
    pub fn with_tcp(
        mut self,
        address: SocketAddr,
        certificates: Certificates,
    ) -> Result<Self, ListenError> {
        let listener = listen_tcp(address).map_err(|source| ListenError {
            address: address.to_string(),
            source,
        })?;
        self.tcp = Some((listener, certificates));
        Ok(self)
    }

    /// Adds a socket that only the process's own account and root can open: whoever comes this way is an administrator.
    ///
    /// # Errors
    ///
    /// When the socket can not be made there.
    pub fn with_admin_socket(mut self, path: &Path) -> Result<Self, ListenError> {
        let listener = private_socket(path).map_err(|source| ListenError {
            address: path.display().to_string(),
            source,
        })?;
        self.admin = Some(listener);
        Ok(self)
    }

    /// Adds a part that the health service is asked about by its name.
    #[must_use]
    pub fn with_health(mut self, part: &'static str, is_good: bool) -> Self {
        self.health.push((part, is_good));
        self
    }

    /// Takes the tokens that gateways pass on, and finds out by this verifier whose they are.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Option<TokenVerifier>) -> Self {
        self.tokens = tokens;
        self
    }

    /// Notes which releases the callers are, and refuses those that are too old.
    #[must_use]
    pub fn with_versions(mut self, versions: CallerVersions) -> Self {
        self.versions = versions;
        self
    }

    /// Returns the TCP address, with the real port when 0 was asked for.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.0.local_addr().ok()
    }
}

/// Makes a socket of mode 0600, in place of one that an ended process has left.
fn private_socket(path: &Path) -> io::Result<UnixListener> {
    // Made where nobody else gets in, whatever the mode of new files here: it comes out with its mode set.
    let hidden = path.with_file_name(format!(".s{}", std::process::id()));
    let socket = hidden.join("s");
    // Of an ended process that had the same number.
    drop(fs::remove_file(&socket));
    drop(fs::remove_dir(&hidden));
    fs::DirBuilder::new().mode(0o700).create(&hidden)?;
    let made = listen_unix(&socket).and_then(|listener| {
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        fs::rename(&socket, path)?;
        Ok(listener)
    });
    if made.is_err() {
        drop(fs::remove_file(&socket));
    }
    fs::remove_dir(&hidden)?;
    made
}

/// Serves a service's routes, health (`grpc.health.v1`) and reflection (v1) until the shutdown.
///
/// Every call passes the declared access rules. `descriptors` is the encoded `FileDescriptorSet` of the contracts.
///
/// # Errors
///
/// When a listener fails.
pub fn serve(
    routes: Routes,
    descriptors: &[u8],
    listeners: Listeners,
    shutdown: Shutdown,
) -> BoxFuture<'_, Result<(), ServeError>> {
    // Boxed: it is compiled here once, and not again in each crate that awaits it.
    Box::pin(async move {
        let health = HealthReporter::new();
        health.set_service_status("", ServingStatus::Serving).await;
        for (part, is_good) in listeners.health {
            let status = match is_good {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            health.set_service_status(part, status).await;
        }
        let routes = add_introspection(routes, descriptors, &health)?.prepare();
        let access =
            AccessRules::from_declarations(listeners.tokens).with_versions(listeners.versions);
        let tcp = async {
            let Some((listener, certificates)) = listeners.tcp else {
                return Ok(());
            };
            let incoming = accept_trusted(from_services(listener), certificates);
            let router = server_builder(access.clone()).add_routes(routes.clone());
            router
                .serve_with_incoming_shutdown(incoming, shutdown.wait_for_drain())
                .await
        };
        let admin = async {
            let Some(listener) = listeners.admin else {
                return Ok(());
            };
            let incoming = from_administrators(listener);
            let router = server_builder(access.clone()).add_routes(routes.clone());
            router
                .serve_with_incoming_shutdown(incoming, shutdown.wait_for_drain())
                .await
        };
        let drained = async {
            shutdown.wait_for_drain().await;
            health
                .set_service_status("", ServingStatus::NotServing)
                .await;
        };
        tokio::select! {
            result = async { tokio::try_join!(tcp, admin) } => result.map(drop).map_err(ServeError::from),
            () = async { drained.await; shutdown.wait_for_end().await } => Ok(()),
        }
    })
}

/// Adds health and reflection.
fn add_introspection(
    routes: Routes,
    descriptors: &[u8],
    health: &HealthReporter,
) -> Result<Routes, ServeError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let health = HealthService::from_health_reporter(health.clone());
    Ok(routes
        .add_service(HealthServer::new(health))
        .add_service(reflection))
}

/// Returns health and reflection alone, for a listener that proves its callers by itself. It is healthy while it answers.
///
/// # Errors
///
/// When the descriptors do not parse.
pub fn introspection(descriptors: &[u8]) -> Result<Routes, ServeError> {
    // A new reporter says of the whole that it serves.
    let health = HealthReporter::new();
    Ok(add_introspection(Routes::default(), descriptors, &health)?.prepare())
}

/// Accepts from other services. Whoever has shown no certificate makes room for newcomers.
fn from_services(
    listener: TcpListener,
) -> impl Stream<Item = io::Result<SlotStream<TcpStream, ()>>> {
    let all = CONNECTIONS.min(descriptors::available_connections() / 4);
    let slots = ConnectionSlots::new(SlotLimits {
        all,
        of_one_holder: all,
    });
    stream::unfold((listener, slots), async |(listener, slots)| {
        loop {
            let Some((socket, source)) = accept_or_pause(listener.accept().await).await else {
                continue;
            };
            let Some(slot) = slots.take_slot(Some(source.ip())).await else {
                metrics::counter!("bowline_rpc_connections_refused_total").increment(1);
                continue;
            };
            // An answer of some frames would wait for the acknowledgement of the first. The server's own option does
            // nothing for sockets it is given.
            drop(socket.set_nodelay(true));
            return Some((Ok(SlotStream::new(socket, slot)), (listener, slots)));
        }
    })
}

/// Accepts from the local socket; nobody but administrators gets there.
fn from_administrators(
    listener: UnixListener,
) -> impl Stream<Item = io::Result<SlotStream<UnixStream, ()>>> {
    let slots = ConnectionSlots::new(SlotLimits {
        all: ADMIN_CONNECTIONS,
        of_one_holder: ADMIN_CONNECTIONS,
    });
    stream::unfold((listener, slots), async |(listener, slots)| {
        loop {
            let Some((socket, _)) = accept_or_pause(listener.accept().await).await else {
                continue;
            };
            if let Some(slot) = slots.take_slot(None).await {
                return Some((Ok(SlotStream::new(socket, slot)), (listener, slots)));
            }
        }
    })
}

/// Returns what was accepted; after a failure it rests.
async fn accept_or_pause<S, A>(accepted: io::Result<(S, A)>) -> Option<(S, A)> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "a connection can not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// A listener for a small page inside the house: the fullest source makes room for newcomers.
pub(crate) struct BoundedListener {
    listener: TcpListener,
    slots: Arc<ConnectionSlots<()>>,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        let slots = ConnectionSlots::new(SlotLimits {
            all: ADMIN_CONNECTIONS,
            of_one_holder: 1,
        });
        Self { listener, slots }
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = SlotStream<TcpStream, ()>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Some((socket, source)) = accept_or_pause(self.listener.accept().await).await
                && let Some(slot) = self.slots.take_slot(Some(source.ip())).await
            {
                return (SlotStream::new(socket, slot), source);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What each call passes, the last first.
type CallLayers = Stack<MeterLayer, Stack<TraceLayer, Stack<AccessRules, Identity>>>;

fn server_builder(access: AccessRules) -> Server<CallLayers> {
    Server::builder()
        .timeout(LONGEST_CALL)
        .tcp_nodelay(true)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .layer(access)
        .layer(TraceLayer)
        .layer(MeterLayer)
}

#[cfg(test)]
mod tests;
