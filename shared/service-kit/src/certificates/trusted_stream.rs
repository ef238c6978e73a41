//! Connections whose other end has proven itself, for as long as it is not denied.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

use super::Certificates;
use super::denied::DeniedList;
use crate::ServiceName;
use crate::connection_slots::{SlotHandle, SlotStream};

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many handshakes a server has open at most; there are fewer slots than these.
const MAX_HANDSHAKES: usize = 4096;
/// How often a connection asks whether its other end is denied now.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// A connection that ends when its other end is denied.
pub(crate) struct TrustedStream<S> {
    stream: S,
    peer: CertificateDer<'static>,
    certificates: Certificates,
    /// The list that the peer was checked against last.
    denied: Arc<DeniedList>,
    looks: Interval,
}

impl<S> TrustedStream<S> {
    fn new(
        stream: S,
        peer: Option<&[CertificateDer<'_>]>,
        certificates: Certificates,
        denied: Arc<DeniedList>,
    ) -> io::Result<Self> {
        let peer = peer.and_then(<[_]>::first);
        let peer = peer.ok_or_else(|| io::Error::other("no certificate was shown"))?;
        let mut looks = interval(CHECK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            stream,
            peer: peer.clone().into_owned(),
            certificates,
            denied,
            looks,
        })
    }

    /// Looks whether the other end is denied, and has the task woken for the next look.
    fn poll_denied(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.looks.poll_tick(context).is_ready() {
            let denied = Arc::clone(&self.certificates.current_material().denied);
            if Arc::ptr_eq(&denied, &self.denied) {
                continue;
            }
            if denied.includes_certificate(&self.peer) {
                let text = "the certificate of the other end is denied";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            self.denied = denied;
        }
        Ok(())
    }
}

/// A connection that a server has accepted.
pub(crate) type AcceptedStream = TrustedStream<server::TlsStream<SlotStream<TcpStream, ()>>>;

/// Lets those who connect prove themselves, for ever. Handshakes run beside each other, as many as there are slots; those
/// that fail are passed over.
pub(crate) fn accept_trusted(
    incoming: impl Stream<Item = io::Result<SlotStream<TcpStream, ()>>>,
    certificates: Certificates,
) -> impl Stream<Item = io::Result<AcceptedStream>> {
    incoming
        .map(move |stream| accept_handshake(stream, certificates.clone()))
        .buffer_unordered(MAX_HANDSHAKES)
        .filter_map(|shaken| async move {
            match shaken {
                Ok(stream) => Some(Ok(stream)),
                Err(error) => {
                    tracing::debug!(%error, "a caller has not proven itself");
                    None
                }
            }
        })
}

async fn accept_handshake(
    stream: io::Result<SlotStream<TcpStream, ()>>,
    certificates: Certificates,
) -> io::Result<AcceptedStream> {
    let stream = stream?;
    let slot = stream.handle();
    let material = certificates.current_material();
    let acceptor = TlsAcceptor::from(material.server_config()?);
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
    slot.mark_known(());
    let denied = Arc::clone(&material.denied);
    let peer = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
    TrustedStream::new(stream, peer.as_deref(), certificates, denied)
}

/// Connects to a service at `host:port`.
pub(crate) async fn connect_trusted(
    address: String,
    service: ServiceName,
    certificates: Certificates,
) -> io::Result<TokioIo<TrustedStream<client::TlsStream<TcpStream>>>> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let material = certificates.current_material();
    let connector = TlsConnector::from(material.client_config()?);
    let name = ServerName::try_from(service.host_name()).map_err(io::Error::other)?;
    let stream = timeout(HANDSHAKE_TIMEOUT, connector.connect(name, stream)).await??;
    let denied = Arc::clone(&material.denied);
    let peer = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
    TrustedStream::new(stream, peer.as_deref(), certificates, denied).map(TokioIo::new)
}

impl Connected for AcceptedStream {
    type ConnectInfo = TlsConnectInfo<(TcpConnectInfo, SlotHandle<()>)>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrustedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_denied(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrustedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
