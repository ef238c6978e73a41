//! Accepts connections, speaks TLS, and bounds what a connection may cost before it has proven anything.

mod arrival;
mod connection;
mod connection_end;
mod limits;
mod link;
mod preface;
mod proxies;
mod quota;

use std::{future::Future, io, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use bowline_service_kit::{Shutdown, Tasks, connection_slots::SlotStream};
use futures_util::FutureExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use arrival::Arrivals;
use connection::PATIENCE;
use link::HeardStream;

pub use connection::Connection;
pub use connection_end::spread_fraction;
pub(crate) use limits::{BodyShare, Holder, ListenerLimits, answer_request};
pub(crate) use link::QUIET;
pub(crate) use proxies::Proxies;
pub(crate) use quota::{Quota, QuotaShare};

/// The longest head of an HTTP/1 request.
const LONGEST_HEAD: usize = 32 * 1024;
/// How many requests one HTTP/2 connection may have open: one long poll and some short ones. Strangers may have fewer.
pub(crate) const MOST_STREAMS: u32 = 128;
/// The longest head of an HTTP/2 request, unpacked.
pub(crate) const LONGEST_HEADERS: u32 = 16 * 1024;
/// How many bytes a client may send before they are read: of one body, and of all bodies on its connection.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 128 * 1024;
/// How much of an answer the transport buffers for a client that does not read.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;
/// How long requests that are under way may still take when their connection closes.
pub(crate) const CLOSE_TIME: Duration = Duration::from_secs(5);
const WANTS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 40\r\n\
    Connection: close\r\n\r\nthis port speaks https: use an https URL";

/// A socket that occupies a connection slot.
type Socket = SlotStream<TcpStream, Holder>;

/// Where clients connect.
pub struct Listener {
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) routes: Router,
    pub(crate) limits: Arc<ListenerLimits>,
}

impl Listener {
    /// Accepts until the drain begins, then waits until the last connection has closed.
    pub(crate) async fn run(self, socket: TcpListener, tasks: Tasks) -> io::Result<()> {
        let open = TaskTracker::new();
        let arrivals = Arrivals::new(self, tasks, open.clone());
        arrivals.run(socket).await?;
        open.close();
        open.wait().await;
        Ok(())
    }

    async fn serve_connection(
        self: Arc<Self>,
        socket: Socket,
        connection: Connection,
        shutdown: Shutdown,
    ) {
        let Some(tls) = &self.tls else {
            return serve(socket, connection, self.routes.clone(), shutdown).await;
        };
        let secured = tokio::select! {
            secured = tokio::time::timeout(PATIENCE, accept_tls(tls, socket)) => secured,
            () = connection.wait_for_drain_turn() => return,
        };
        if let Ok(Ok(Some(socket))) = secured {
            serve(socket, connection, self.routes.clone(), shutdown).await;
        }
    }
}

/// Keeps a panic inside the connection that caused it: what one client sends must not end another client's session.
pub(crate) fn contain_panic(
    work: impl Future<Output = ()> + Send,
) -> impl Future<Output = ()> + Send {
    // An `async` block would have room for the work twice.
    AssertUnwindSafe(work).catch_unwind().map(|done| {
        if done.is_err() {
            metrics::counter!("bowline_gateway_panics_total").increment(1);
            tracing::error!("a connection ended in a panic");
        }
    })
}

/// Finishes the TLS handshake; a client that speaks plain HTTP is told so.
async fn accept_tls(
    tls: &TlsAcceptor,
    mut socket: Socket,
) -> io::Result<Option<TlsStream<Socket>>> {
    let mut first = [0];
    if socket.stream_mut().peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        socket.write_all(WANTS_TLS).await?;
        socket.shutdown().await?;
        // Closing with unread bytes would reset the connection before the client has read the answer.
        let rest = socket.take(LONGEST_HEAD as u64);
        tokio::io::copy(&mut { rest }, &mut tokio::io::sink()).await?;
        return Ok(None);
    }
    tls.accept(socket).await.map(Some)
}

async fn serve<S>(socket: S, connection: Connection, routes: Router, shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = CancellationToken::new();
    let source = connection.source();
    let (heard, asking) = (asked.clone(), connection.clone());
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        heard.cancel();
        answer_request(&asking, routes.clone(), request.map(Body::new))
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
    let socket = HeardStream::new(socket, connection.clone());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => {
            if let Err(error) = ended {
                tracing::debug!(%source, %error, "connection ended");
            }
            return;
        }
        () = connection.wait_until_overstayed(&asked) => return tracing::debug!(%source, "connection overstayed"),
        () = connection.link().wait_until_dead() => return tracing::info!(%source, "a link is dead"),
        () = shutdown.wait_for_end() => return,
        () = connection.wait_for_drain_turn() => {}
    }
    serving.as_mut().graceful_shutdown();
    connection.announce_closing();
    drop(tokio::time::timeout(CLOSE_TIME, serving).await);
}
