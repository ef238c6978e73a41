//! The relay's own TCP sockets: accept, TLS, HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use bowline_service_kit::connection_slots::SlotStream;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::quiet::{QuietStream, QuietSwitch};
use crate::{Relay, RelaySlot, ServedNode, meters};

/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest HTTP request head, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// Returns `tls` offering no version of HTTP but 1.1, the only one that can be upgraded. Protocols of others stay behind it.
pub(crate) fn http1_only(tls: Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut tls = Arc::unwrap_or_clone(tls);
    let is_http = |name: &[u8]| name.starts_with(b"http/") || name.starts_with(b"h2");
    tls.alpn_protocols.retain(|name| !is_http(name));
    tls.alpn_protocols.insert(0, b"http/1.1".to_vec());
    Arc::new(tls)
}

/// Accepts connections for ever.
pub(crate) async fn accept_connections(
    relay: Relay,
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let router = relay.router();
    loop {
        let (stream, source) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "no connection could be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(slot) = relay.state().slots.take_slot(Some(source.ip())).await else {
            meters::count_refusal("full");
            continue;
        };
        // Packets are small and wait for nobody; where the option can not be set they are only slower.
        let _ = stream.set_nodelay(true);
        let stream = SlotStream::new(stream, slot);
        let connection = AcceptedConnection {
            source,
            place: stream.handle(),
            router: router.clone(),
        };
        let (relay, acceptor) = (relay.clone(), acceptor.clone());
        relay.state().tasks.clone().spawn(async move {
            let draining = relay.state().draining.clone();
            let served = serve_connection(relay, connection, stream, acceptor);
            draining.run_until_cancelled(served).await;
        });
    }
}

/// An accepted connection.
struct AcceptedConnection {
    source: SocketAddr,
    place: RelaySlot,
    router: Router,
}

async fn serve_connection(
    relay: Relay,
    connection: AcceptedConnection,
    stream: SlotStream<TcpStream, ServedNode>,
    acceptor: Option<TlsAcceptor>,
) {
    let source = connection.source;
    let deadline = relay.state().limits.handshake;
    let Some(acceptor) = acceptor else {
        return connection.serve_http(stream, deadline).await;
    };
    match timeout(deadline, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => connection.serve_http(stream, deadline).await,
        Ok(Err(error)) => debug!(%source, %error, "TLS handshake failed"),
        Err(_) => debug!(%source, "TLS handshake took too long"),
    }
}

impl AcceptedConnection {
    /// Serves HTTP until the connection ends or is upgraded; `deadline` bounds the wait for each request head.
    async fn serve_http<S>(self, stream: S, deadline: Duration)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self {
            source,
            place,
            router,
        } = self;
        let quiet = QuietSwitch::default();
        let stream = TokioIo::new(QuietStream::new(stream, quiet.clone()));
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            let known = request.extensions_mut();
            known.insert(ConnectInfo(source));
            known.insert(place.clone());
            known.insert(quiet.clone());
            router.clone().oneshot(request)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(deadline)
            .max_buf_size(MAX_HEAD)
            .serve_connection(stream, service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            debug!(%source, %error, "HTTP connection failed");
        }
    }
}
