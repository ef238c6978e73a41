//! One reading of the certificates: texts, and what TLS makes of them.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::denied::DeniedList;
use super::ends::{CertificateViewer, note_certificate};
use super::verifier::{ClientVerifier, ServerVerifier};
use super::{CertificateFiles, FileError, read_text};

/// How often an end that is near is warned of, in seconds.
const WARNING_INTERVAL: i64 = 24 * 3600;

/// A certificate, its key and the authority, as PEM, and who is denied.
pub(crate) struct Material {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
    pub(super) denied: Arc<DeniedList>,
    server: OnceLock<Result<Arc<ServerConfig>, String>>,
    client: OnceLock<Result<Arc<ClientConfig>, String>>,
    /// When the end was warned of last, in seconds since 1970.
    warned: AtomicI64,
}

impl Material {
    pub(super) fn new(
        authority: String,
        certificate: String,
        key: Zeroizing<String>,
        denied: DeniedList,
    ) -> Self {
        Self {
            authority,
            certificate,
            key,
            denied: Arc::new(denied),
            server: OnceLock::new(),
            client: OnceLock::new(),
            warned: AtomicI64::new(0),
        }
    }

    /// Reads the files and makes sure that they fit together.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, FileError> {
        let denied = match &files.denied {
            None => DeniedList::default(),
            Some(path) => DeniedList::parse(&read_text(path)?).map_err(|problem| FileError {
                path: path.clone(),
                source: io::Error::new(io::ErrorKind::InvalidData, problem),
            })?,
        };
        let material = Self::new(
            read_text(&files.authority)?,
            read_text(&files.certificate)?,
            Zeroizing::new(read_text(&files.key)?),
            denied,
        );
        let fits = material.server_config().map(drop);
        fits.and_then(|()| material.client_config().map(drop))
            .map_err(|source| FileError {
                path: files.certificate.clone(),
                source,
            })?;
        Ok(material)
    }

    /// Returns how a server proves itself, and that it wants a client certificate of the same authority.
    pub(super) fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        let made = self.server.get_or_init(|| {
            let made = self.make_server();
            made.map(Arc::new).map_err(|error| error.to_string())
        });
        made.clone().map_err(invalid_data)
    }

    /// Returns how a client proves itself; whom it wants to meet it says for each connection.
    pub(super) fn client_config(&self) -> io::Result<Arc<ClientConfig>> {
        let made = self.client.get_or_init(|| {
            let made = self.make_client();
            made.map(Arc::new).map_err(|error| error.to_string())
        });
        made.clone().map_err(invalid_data)
    }

    fn make_server(&self) -> Result<ServerConfig, Box<dyn std::error::Error>> {
        let provider = crypto_provider();
        let roots = Arc::new(self.root_store()?);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let verifier = ClientVerifier {
            inner: verifier,
            denied: Arc::clone(&self.denied),
        };
        let (chain, key) = self.own_chain_and_key()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn make_client(&self) -> Result<ClientConfig, Box<dyn std::error::Error>> {
        let provider = crypto_provider();
        let roots = Arc::new(self.root_store()?);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let verifier = ServerVerifier {
            inner: verifier,
            denied: Arc::clone(&self.denied),
        };
        let (chain, key) = self.own_chain_and_key()?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn root_store(&self) -> Result<RootCertStore, Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.authority.as_bytes()) {
            roots.add(certificate?)?;
        }
        Ok(roots)
    }

    fn own_chain_and_key(&self) -> Result<ChainAndKey, rustls::pki_types::pem::Error> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        Ok((chain.collect::<Result<_, _>>()?, key))
    }

    /// Warns once a day when less than a third of the certificate's time is left.
    pub(super) fn warn_near_the_end(&self) {
        #[expect(clippy::disallowed_methods, reason = "only when a warning is due")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |time| time.as_secs().cast_signed());
        let warned = self.warned.load(Ordering::Relaxed);
        if now < warned + WARNING_INTERVAL {
            return;
        }
        self.warned.store(now, Ordering::Relaxed);
        if let Some((from, until)) = self.validity_span()
            && until - now < (until - from) / 3
        {
            let hours_left = (until - now) / 3600;
            tracing::warn!(
                hours_left,
                "the certificate of this process is near its end: `bowline certificates renew` makes another, which is read without a restart"
            );
        }
    }

    /// Notes for metrics and other services when the certificate ends.
    pub(super) fn note_end(&self) {
        if let Ok(certificate) = CertificateDer::from_pem_slice(self.certificate.as_bytes()) {
            note_certificate(CertificateViewer::Services, &certificate);
        }
    }

    /// Returns from when until when the certificate is valid, in seconds since 1970.
    fn validity_span(&self) -> Option<(i64, i64)> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        let validity = parsed.validity();
        Some((
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        ))
    }
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn invalid_data(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
