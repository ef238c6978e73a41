//! Accepts connections, speaks TLS, and bounds what a connection may cost before it has proven anything.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use bowline_service_kit::{Shutdown, Tasks};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

/// How long a client may take for the TLS handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the connection is inside TLS.
#[derive(Clone, Copy, Debug)]
pub struct Secured(pub bool);

/// Where clients connect.
pub struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) routes: Router,
    pub(crate) seats: Arc<Semaphore>,
}

impl Listener {
    /// Accepts until the drain begins.
    pub(crate) async fn run(self, tasks: Tasks) -> io::Result<()> {
        let shutdown = tasks.shutdown().clone();
        loop {
            let accepted = tokio::select! {
                () = shutdown.draining() => return Ok(()),
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
            let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
                metrics::counter!("bowline_gateway_connections_refused_total").increment(1);
                continue;
            };
            drop(socket.set_nodelay(true));
            let (routes, tls, shutdown) = (self.routes.clone(), self.tls.clone(), shutdown.clone());
            tasks.background("connection", async move {
                let _seat = seat;
                match tls {
                    None => serve(socket, source, Secured(false), routes, shutdown).await,
                    Some(tls) => {
                        let secured = tokio::time::timeout(PATIENCE, tls.accept(socket)).await;
                        if let Ok(Ok(socket)) = secured {
                            serve(socket, source, Secured(true), routes, shutdown).await;
                        }
                    }
                }
            });
        }
    }
}

async fn serve<S>(
    socket: S,
    source: SocketAddr,
    secured: Secured,
    routes: Router,
    shutdown: Shutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = routes
        .layer(Extension(secured))
        .layer(Extension(ConnectInfo(source)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(32 * 1024)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(30));
    let service = TowerToHyperService::new(routes);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!(%source, %error, "connection ended");
            }
        }
        () = shutdown.ended() => {}
    }
}
