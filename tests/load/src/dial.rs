//! From an address of a gateway to a connection: a source address of one's own, TLS, the Noise handshake.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_control_noise::{Initiator, NoiseStream};
use bowline_control_wire::KeyResponse;
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::TcpSocket,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::link::{FaultyLink, LinkSwitch};

/// The capability version of the nodes.
pub const VERSION: u16 = 130;
/// How long a client tries one connection, the handshake included.
const DIAL_BUDGET: Duration = Duration::from_secs(10);

/// Bytes both ways, over TCP or TLS.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A connection to a gateway; what was read ahead is kept.
pub type Dialed = BufReader<Box<dyn ByteStream>>;

/// Where and how a gateway is reached.
#[derive(Clone)]
pub struct GatewayAddress {
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for GatewayAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.address)
    }
}

impl GatewayAddress {
    /// Returns the place that a URL names, with the authority that its certificate is checked by.
    ///
    /// # Errors
    ///
    /// When it is not on the loopback interface: nothing else is sent to.
    pub fn new(url: &str, authority: Option<&Path>) -> Result<Self> {
        let uri: Uri = url.parse()?;
        let host = uri.host().context("a URL of a gateway has a host")?;
        let ip: IpAddr = match host {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            host => host
                .parse()
                .with_context(|| format!("{host} is no address"))?,
        };
        ensure!(
            ip.is_loopback(),
            "{ip} is not on the loopback interface: nothing is sent there"
        );
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = match is_tls {
            true => Some((trusting(authority)?, ServerName::try_from(host.to_owned())?)),
            false => None,
        };
        Ok(Self {
            address: SocketAddr::new(ip, port),
            tls,
        })
    }

    /// Connects from a source address.
    ///
    /// # Errors
    ///
    /// What hinders it, or that it takes longer than a client waits.
    pub async fn dial(&self, source: Ipv4Addr, switch: LinkSwitch) -> Result<Dialed> {
        timeout(DIAL_BUDGET, self.dial_at_leisure(source, switch))
            .await
            .context("dial: too late")?
    }

    async fn dial_at_leisure(&self, source: Ipv4Addr, switch: LinkSwitch) -> Result<Dialed> {
        let socket = if self.address.is_ipv4() {
            let socket = TcpSocket::new_v4()?;
            socket.bind((source, 0).into()).context("bind")?;
            socket
        } else {
            TcpSocket::new_v6()?
        };
        let stream = socket.connect(self.address).await.context("dial")?;
        stream.set_nodelay(true)?;
        let link = FaultyLink::new(stream, switch);
        let stream: Box<dyn ByteStream> = match &self.tls {
            None => Box::new(link),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), link).await;
                Box::new(stream.context("TLS")?)
            }
        };
        Ok(BufReader::with_capacity(4096, stream))
    }

    /// Asks for the keys that clients pin, on a connection of its own.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub async fn control_keys(&self) -> Result<KeyResponse> {
        let request = Request::get(format!("/key?v={VERSION}"))
            .header("Host", "gateway")
            .body(Full::default())?;
        let (status, body) = self.ask(request).await?;
        ensure!(status == 200, "/key: {status}");
        Ok(serde_json::from_slice(&body)?)
    }

    /// Sends a request on a connection of its own, and returns the status and the body of the answer.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes)> {
        let stream = self
            .dial(Ipv4Addr::LOCALHOST, LinkSwitch::healthy())
            .await?;
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let answer = requests.send_request(request).await?;
            let status = answer.status().as_u16();
            Ok::<_, anyhow::Error>((status, answer.into_body().collect().await?.to_bytes()))
        };
        tokio::select! {
            answer = answer => answer,
            ended = connection => bail!("the connection ended: {ended:?}"),
        }
    }
}

/// Shakes hands as a machine, and returns the stream of records after its early payload.
///
/// # Errors
///
/// What hinders it, or that it takes longer than a client waits.
pub async fn shake_hands(
    stream: Dialed,
    machine: &PrivateKey,
    control: MachinePublic,
) -> Result<NoiseStream<Dialed>> {
    timeout(
        DIAL_BUDGET,
        shake_hands_at_leisure(stream, machine, control),
    )
    .await
    .context("handshake: too late")?
}

async fn shake_hands_at_leisure(
    mut stream: Dialed,
    machine: &PrivateKey,
    control: MachinePublic,
) -> Result<NoiseStream<Dialed>> {
    let (initiator, initiation) = Initiator::begin(machine, control, VERSION)?;
    stream.write_all(&upgrade_request(&initiation)).await?;
    stream.flush().await?;
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        let count = stream.read_line(&mut line).await.context("upgrade")?;
        ensure!(count > 0, "upgrade: closed");
        head.push_str(&line);
    }
    let status = head.get(9..12).unwrap_or_default();
    ensure!(status == "101", "upgrade: {status}");
    let mut response = [0; 51];
    stream
        .read_exact(&mut response)
        .await
        .context("handshake")?;
    let mut stream = NoiseStream::new(stream, &initiator.finish(&response)?);
    let mut header = [0; 9];
    stream
        .read_exact(&mut header)
        .await
        .context("early payload")?;
    let length = match header.split_first_chunk() {
        Some((b"\xff\xff\xffTS", length)) => u32::from_be_bytes(length.try_into()?),
        _ => bail!("no early payload"),
    };
    let mut payload = vec![0; usize::try_from(length)?.min(1024)];
    stream
        .read_exact(&mut payload)
        .await
        .context("early payload")?;
    Ok(stream)
}

/// Returns the request that asks for an upgrade with an initiation.
pub fn upgrade_request(initiation: &[u8]) -> Vec<u8> {
    format!(
        "POST /ts2021 HTTP/1.1\r\nHost: gateway\r\nConnection: upgrade\r\n\
         Upgrade: tailscale-control-protocol\r\nContent-Length: 0\r\n\
         X-Tailscale-Handshake: {}\r\n\r\n",
        STANDARD.encode(initiation)
    )
    .into_bytes()
}

fn trusting(authority: Option<&Path>) -> Result<TlsConnector> {
    let file = authority.context("a gateway that speaks TLS needs its authority: --ca FILE")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
