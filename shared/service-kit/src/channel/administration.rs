//! A way to an administration address, for programs that call by a token.

use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;

/// Why there is no way to an administration address.
#[derive(Debug, thiserror::Error)]
pub enum AdminAddressError {
    /// It is not `host:port`.
    #[error(
        "\"{0}\" is no administration address: expected host:port, such as vpn.example.com:8445"
    )]
    Address(String),
    /// The file with the authority can not be read.
    #[error("the authority {0} can not be read: {1}")]
    Authority(String, #[source] rustls::pki_types::pem::Error),
    /// The token has characters that no token has.
    #[error("the token is none: it has characters that no token has")]
    Token,
}

/// Returns the certificate authorities in a PEM file; without one those that the system trusts.
///
/// # Errors
///
/// When the file can not be read, or is none of certificates.
pub fn trusted_authorities(file: Option<&Path>) -> Result<RootCertStore, AdminAddressError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let failed = |error| AdminAddressError::Authority(path.display().to_string(), error);
            let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
            let certificates: Result<Vec<_>, _> = certificates.collect();
            roots.add_parsable_certificates(certificates.map_err(failed)?);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// Connects with TLS to one address, and trusts who the system trusts, or one authority alone.
#[derive(Clone)]
pub(super) struct AdminConnector {
    address: Arc<str>,
    host: ServerName<'static>,
    tls: TlsConnector,
}

impl AdminConnector {
    pub(super) fn new(address: &str, authority: Option<&Path>) -> Result<Self, AdminAddressError> {
        let invalid = || AdminAddressError::Address(address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        port.parse::<u16>().map_err(|_| invalid())?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let host = ServerName::try_from(host).map_err(|_| invalid())?;
        let mut config = ClientConfig::builder()
            .with_root_certificates(trusted_authorities(authority)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            address: address.into(),
            host,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Returns where calls go.
    pub(super) fn endpoint(&self) -> Result<Endpoint, AdminAddressError> {
        Endpoint::from_shared(format!("http://{}", self.address))
            .map_err(|_| AdminAddressError::Address(self.address.to_string()))
    }

    pub(super) async fn connect(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let socket = TcpStream::connect(&*self.address).await?;
        socket.set_nodelay(true)?;
        let secured = self.tls.connect(self.host, socket).await;
        if let Err(error) = &secured {
            tracing::warn!(address = &*self.address, %error, "TLS can not be spoken");
        }
        secured.map(TokioIo::new)
    }
}
