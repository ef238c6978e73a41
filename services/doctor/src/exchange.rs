//! One connection, one request, one answer.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bowline_clock::{Clock as _, SystemClock};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    certificate,
    finding::{Finding, Judgement},
    secure::{ShownChain, speak_tls},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long TLS, or an answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest body that is read.
const LONGEST_BODY: usize = 1 << 20;

/// Bytes both ways, over TCP or TLS.
pub(crate) trait ClientStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ClientStream for S {}

/// An open connection.
pub(crate) type Connected = Box<dyn ClientStream>;

/// Where to connect.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    /// The host name or address that the certificate is to be for; nothing where TLS is not spoken.
    pub(crate) secured_host: Option<String>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From the request to the last byte.
    pub(crate) took: Duration,
    /// When about half of that had passed.
    pub(crate) halfway: DateTime<Utc>,
}

/// What a request to upgrade leads to.
pub(crate) enum UpgradeAnswer {
    /// The other protocol.
    Upgraded(TokioIo<Upgraded>),
    /// An answer in place of it.
    Refused(Answer),
}

/// Asks, trusting some authorities. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Exchanger {
    trusted: Arc<RootCertStore>,
}

impl Exchanger {
    pub(crate) fn new(trusted: Arc<RootCertStore>) -> Self {
        Self { trusted }
    }

    /// Connects, and says what hinders that.
    pub(crate) async fn connect(
        &self,
        destination: &Destination,
    ) -> Result<(Connected, Option<ShownChain>), Judgement> {
        let stream = open_tcp(destination.address).await?;
        let Some(host) = &destination.secured_host else {
            return Ok((Box::new(stream), None));
        };
        match timeout(PATIENCE, speak_tls(stream, host, &self.trusted)).await {
            Ok(Ok((stream, shown))) => Ok((Box::new(stream), Some(shown))),
            Ok(Err(error)) => Err(certificate::judge_failure(&error)),
            Err(_) => Err(Judgement::failed(
                "nobody answers to TLS: what listens is no server of TLS, or hangs",
            )),
        }
    }

    /// Asks for a page on a connection of its own.
    pub(crate) async fn ask(
        &self,
        destination: &Destination,
        request: Request<Empty<Bytes>>,
    ) -> Result<Answer, Judgement> {
        let (stream, _) = self.connect(destination).await?;
        match exchange(stream, request).await? {
            UpgradeAnswer::Refused(answer) => Ok(answer),
            UpgradeAnswer::Upgraded(_) => Err(Judgement::failed(
                "the answer is in another protocol than was asked for",
            )),
        }
    }
}

/// Opens a connection, and says what hinders that.
pub(crate) async fn open_tcp(address: SocketAddr) -> Result<TcpStream, Judgement> {
    match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            drop(stream.set_nodelay(true));
            Ok(stream)
        }
        Ok(Err(error)) => Err(judge_refusal(&error)),
        Err(_) => Err(Judgement::failed(
            "nobody answers: a firewall drops the packets, or the address is that of no machine. Let the port through, and forward it where \
             there is NAT",
        )),
    }
}

fn judge_refusal(error: &io::Error) -> Judgement {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            Judgement::warning("this machine has no way there, such as no IPv6: it was not tried")
        }
        io::ErrorKind::ConnectionRefused => Judgement::failed(
            "nothing listens there: start the server or the proxy, and look at its `listen`",
        ),
        _ => Judgement::failed(format!("no connection is made ({error})")),
    }
}

/// Opens a connection and says how long that took.
pub(crate) async fn check_tcp(address: SocketAddr) -> (Finding, bool) {
    let begin = Instant::now();
    match open_tcp(address).await {
        Ok(_) => {
            let took = Some(begin.elapsed());
            let connected = Judgement::ok("it takes connections");
            (connected.of("tcp", address.to_string(), took), true)
        }
        Err(judgement) => (judgement.of("tcp", address.to_string(), None), false),
    }
}

/// Sends a request over a connection, and reads the answer.
pub(crate) async fn exchange(
    stream: Connected,
    request: Request<Empty<Bytes>>,
) -> Result<UpgradeAnswer, Judgement> {
    let failed = |error: &dyn std::fmt::Display| {
        Judgement::failed(format!(
            "no HTTP answer came ({error}): look at the log of the proxy, or of the server"
        ))
    };
    match timeout(PATIENCE, exchange_at_leisure(stream, request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(failed(&"after ten seconds")),
    }
}

async fn exchange_at_leisure(
    stream: Connected,
    request: Request<Empty<Bytes>>,
) -> Result<UpgradeAnswer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let begin = Instant::now();
        let response = requests.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(response).await?;
            return Ok(UpgradeAnswer::Upgraded(TokioIo::new(upgraded)));
        }
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await?.to_bytes();
        let took = begin.elapsed();
        let way = chrono::TimeDelta::from_std(took / 2).unwrap_or_default();
        Ok(UpgradeAnswer::Refused(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            took,
            halfway: SystemClock.now() - way,
        }))
    };
    // The connection carries the exchange, and ends with it: what it fails with the exchange fails with, too.
    let (answer, _) = tokio::join!(answer, connection.with_upgrades());
    answer
}
