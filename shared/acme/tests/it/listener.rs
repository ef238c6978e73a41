//! A server that speaks TLS with what ACME has brought, and clients that check it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bowline_acme::{AcmeResolver, TLS_ALPN};
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_test_servers::PebbleServer;
use bytes::Bytes;
use http::Request;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

const SOON: Duration = Duration::from_secs(60);

/// Sends back what it is sent, over TLS.
pub(crate) async fn echo(socket: TcpListener, resolver: Arc<AcmeResolver>) {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![TLS_ALPN.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = socket.accept().await.unwrap();
        let accepting = acceptor.accept(stream);
        tokio::spawn(async move {
            let Ok(mut stream) = accepting.await else {
                return;
            };
            let mut letter = [0];
            while stream.read_exact(&mut letter).await.is_ok() {
                stream.write_all(&letter).await.unwrap();
            }
        });
    }
}

/// A client that trusts Pebble's certificates alone.
pub(crate) struct TestClient {
    connector: TlsConnector,
    address: SocketAddr,
    host: ServerName<'static>,
}

impl TestClient {
    pub(crate) async fn new(pebble: &PebbleServer, port: u16, host: &str) -> Self {
        let config = ClientConfig::builder()
            .with_root_certificates(issued_roots(pebble).await)
            .with_no_client_auth();
        Self {
            connector: TlsConnector::from(Arc::new(config)),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            host: ServerName::try_from(host.to_owned()).unwrap(),
        }
    }

    /// Connects as soon as there is a certificate that can be trusted, other than `before`.
    pub(crate) async fn connect_with_other(
        &self,
        before: Option<&CertificateDer<'static>>,
    ) -> (TlsStream<TcpStream>, CertificateDer<'static>) {
        let deadline = Instant::now() + SOON;
        loop {
            let connection = TcpStream::connect(self.address).await.unwrap();
            let connected = self.connector.connect(self.host.clone(), connection).await;
            if let Ok(stream) = connected {
                let chain = stream.get_ref().1.peer_certificates().unwrap();
                let shown = chain[0].clone().into_owned();
                if Some(&shown) != before {
                    return (stream, shown);
                }
            }
            assert!(Instant::now() < deadline, "there is no other certificate");
            tokio::task::yield_now().await;
        }
    }
}

/// Says a letter and hears it.
pub(crate) async fn exchange(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"x").await.unwrap();
    let mut letter = [0];
    stream.read_exact(&mut letter).await.unwrap();
    assert_eq!(&letter, b"x");
}

async fn issued_roots(pebble: &PebbleServer) -> RootCertStore {
    let mut own = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(pebble.ca_file()).unwrap();
    own.add(certificate).unwrap();
    let limits = AnswerLimits {
        longest_body: 1 << 20,
        deadline: SOON,
    };
    let client = HttpClient::trusting(own, Destinations::Anywhere, limits);
    let request = Request::get(pebble.root_url()).body(Bytes::new()).unwrap();
    let answer = client.send(request).await.unwrap();
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(answer.body()).unwrap();
    roots.add(root).unwrap();
    roots
}
