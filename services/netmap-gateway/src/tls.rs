//! The certificate clients see.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bowline_acme::{AcmeResolver, TLS_ALPN};
use bowline_service_kit::{CertificateViewer, FileWatch, note_certificate};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

/// Why TLS can not be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can not be read as PEM.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate and the key do not fit.
    #[error("the certificate and its key can not be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// A certificate and its key, read again when their files change.
#[derive(Debug)]
struct FileCertificate {
    certificate: PathBuf,
    key: PathBuf,
    watch: FileWatch,
    current: ArcSwap<CertifiedKey>,
}

impl FileCertificate {
    fn new(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let watch = FileWatch::new(vec![certificate.clone(), key.clone()]);
        let current = ArcSwap::from_pointee(read_certified_key(&certificate, &key)?);
        Ok(Self {
            certificate,
            key,
            watch,
            current,
        })
    }

    /// Reads the files again if they have changed. While they can not be used, the certificate before stays in use.
    fn reload_if_changed(&self) {
        if !self.watch.check_for_changes() {
            return;
        }
        match read_certified_key(&self.certificate, &self.key) {
            Ok(pair) => {
                tracing::info!(file = %self.certificate.display(), "the certificate was read again");
                self.current.store(Arc::new(pair));
            }
            Err(error) => {
                self.watch.report_again();
                tracing::warn!(%error, "the certificate before stays in use");
            }
        }
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.reload_if_changed();
        Some(self.current.load_full())
    }
}

fn read_certified_key(certificates: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect)
        .map_err(failed(certificates))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let own = chain.first().cloned();
    let pair = CertifiedKey::from_der(chain, key, &default_provider())?;
    if let Some(certificate) = own {
        note_certificate(CertificateViewer::Clients, &certificate);
    }
    Ok(pair)
}

/// Returns an acceptor for a certificate chain and its key, which are read again when their files change.
///
/// # Errors
///
/// [`TlsError`].
pub fn build_acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let pair = FileCertificate::new(certificate.to_owned(), key.to_owned())?;
    Ok(acceptor_with(Arc::new(pair), &[]))
}

/// Returns an acceptor for a certificate that ACME keeps, which also answers the authority's challenges.
pub fn build_acme_acceptor(resolver: Arc<AcmeResolver>) -> TlsAcceptor {
    acceptor_with(resolver, &[TLS_ALPN])
}

/// Both HTTP versions are offered (protocol section 2.4), and after them what only an authority asks for.
fn acceptor_with(certificate: Arc<dyn ResolvesServerCert>, more: &[&[u8]]) -> TlsAcceptor {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    let protocols = [&[&b"h2"[..], b"http/1.1"], more].concat();
    config.alpn_protocols = protocols.into_iter().map(<[u8]>::to_vec).collect();
    TlsAcceptor::from(Arc::new(config))
}

#[cfg(test)]
mod tests;
