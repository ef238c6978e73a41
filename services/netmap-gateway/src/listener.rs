//! Accepts connections, speaks TLS, and bounds what a connection may cost before it has proven anything.

mod connection;
mod link;
mod quota;

use std::{
    future::Future, io, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use axum::{Extension, Router, body::Body, extract::ConnectInfo, http::Request};
use bowline_service_kit::{Shutdown, Tasks};
use futures_util::FutureExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use connection::{End, PATIENCE};
use link::Heard;
use quota::Quota;

pub use connection::{Connection, fraction};
pub(crate) use link::QUIET;

/// The part of all connections that one source may have while no registered node speaks on them.
const STRANGERS: usize = 8;
/// What the bodies being received may hold together, and those of one source.
const BODIES: usize = 64 << 20;
const BODIES_OF_ONE: usize = 8 << 20;
/// The longest head of an HTTP/1 request.
const LONGEST_HEAD: usize = 32 * 1024;
/// How many requests one HTTP/2 connection may have open: a poll and short ones.
pub(crate) const MOST_STREAMS: u32 = 128;
/// The longest head of an HTTP/2 request, unpacked.
pub(crate) const LONGEST_HEADERS: u32 = 16 * 1024;
/// How much of a body a client may send ahead of being read, and of all bodies of its connection.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 256 * 1024;
/// How much of an answer waits in the transport for a client that does not take it.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;
/// How long a connection that closes has for what is still under way on it.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);
const WANTS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 40\r\n\
    Connection: close\r\n\r\nthis port speaks https: use an https URL";

/// Where clients connect.
pub struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) routes: Router,
    pub(crate) seats: Arc<Semaphore>,
}

impl Listener {
    /// Accepts until the drain begins, then waits until the last connection has closed.
    pub(crate) async fn run(self, tasks: Tasks) -> io::Result<()> {
        let open = TaskTracker::new();
        let mut accepting = self;
        accepting.accept(&tasks, &open).await;
        // Who comes now is refused at once, and asks another gateway.
        drop(accepting);
        open.close();
        open.wait().await;
        Ok(())
    }

    async fn accept(&mut self, tasks: &Tasks, open: &TaskTracker) {
        let shutdown = tasks.shutdown().clone();
        let most = self.seats.available_permits();
        let strangers = Quota::new(most, most.div_ceil(STRANGERS));
        let bodies = Quota::new(BODIES, BODIES_OF_ONE);
        for number in 1.. {
            let accepted = tokio::select! {
                () = shutdown.draining() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (socket, source) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: those in use come back.
                    tracing::warn!(%error, "a connection can not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let mut stranger = strangers.share(source.ip());
            let seat = Arc::clone(&self.seats).try_acquire_owned();
            let (Ok(seat), true) = (seat, stranger.grow(1)) else {
                metrics::counter!("bowline_gateway_connections_refused_total").increment(1);
                continue;
            };
            drop(socket.set_nodelay(true));
            let is_secured = self.tls.is_some();
            let end = End::new(shutdown.clone(), number, open.token());
            let connection =
                Connection::new(source, is_secured, Arc::clone(&bodies), stranger, seat, end);
            let (routes, tls, shutdown) = (self.routes.clone(), self.tls.clone(), shutdown.clone());
            tasks.background(
                "connection",
                contained(async move {
                    let Some(tls) = tls else {
                        return serve(socket, source, connection, routes, shutdown).await;
                    };
                    let secured = tokio::select! {
                        secured = tokio::time::timeout(PATIENCE, secure(&tls, socket)) => secured,
                        () = connection.turn() => return,
                    };
                    if let Ok(Ok(Some(socket))) = secured {
                        serve(socket, source, connection, routes, shutdown).await;
                    }
                }),
            );
        }
    }
}

/// Keeps a panic inside the connection that caused it: what one client sends ends nobody else's session.
pub(crate) async fn contained(work: impl Future<Output = ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        metrics::counter!("bowline_gateway_panics_total").increment(1);
        tracing::error!("a connection ended in a panic");
    }
}

/// Finishes the TLS handshake; a client that speaks plain HTTP is told so.
async fn secure(
    tls: &TlsAcceptor,
    mut socket: TcpStream,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    if socket.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        socket.write_all(WANTS_TLS).await?;
        socket.shutdown().await?;
        // What is left unread would reset the connection, and the answer with it.
        let rest = (&mut socket).take(LONGEST_HEAD as u64);
        tokio::io::copy(&mut { rest }, &mut tokio::io::sink()).await?;
        return Ok(None);
    }
    tls.accept(socket).await.map(Some)
}

async fn serve<S>(
    socket: S,
    source: SocketAddr,
    connection: Connection,
    routes: Router,
    shutdown: Shutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = CancellationToken::new();
    let routes = routes
        .layer(Extension(connection.clone()))
        .layer(Extension(ConnectInfo(source)));
    let heard = asked.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        heard.cancel();
        routes.clone().oneshot(request.map(Body::new))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LONGEST_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LONGEST_HEADERS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(30));
    let socket = Heard::new(socket, connection.clone());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => {
            if let Err(error) = ended {
                tracing::debug!(%source, %error, "connection ended");
            }
            return;
        }
        () = connection.overstayed(&asked) => return tracing::debug!(%source, "connection overstayed"),
        () = connection.link().death() => return tracing::info!(%source, "a link is dead"),
        () = shutdown.ended() => return,
        () = connection.turn() => {}
    }
    serving.as_mut().graceful_shutdown();
    connection.announce_closing();
    drop(tokio::time::timeout(FAREWELL, serving).await);
}
