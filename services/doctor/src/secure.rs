//! TLS that notes what it is shown, and goes on whether or not that is trusted: whoever reads the notes decides.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a server has shown.
#[derive(Clone, Debug)]
pub(crate) struct ShownChain {
    /// Its own certificate first.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// Why it is not trusted for the name.
    pub(crate) mistrust: Option<rustls::Error>,
}

/// Notes what is shown, and takes it.
#[derive(Debug)]
struct NotingVerifier {
    /// Nothing when this machine trusts no authority.
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Option<ShownChain>>,
}

impl ServerCertVerifier for NotingVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mistrust = match &self.inner {
            Some(inner) => inner
                .verify_server_cert(own, others, name, stapled, now)
                .err(),
            None => Some(rustls::CertificateError::UnknownIssuer.into()),
        };
        let chain = std::iter::once(own).chain(others);
        *self.shown.lock() = Some(ShownChain {
            certificates: chain.map(|one| one.clone().into_owned()).collect(),
            mistrust,
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Speaks TLS as clients do, with HTTP/1.1 inside, and returns what the server has shown.
pub(crate) async fn speak_tls(
    stream: TcpStream,
    host: &str,
    trusted: &Arc<RootCertStore>,
) -> io::Result<(TlsStream<TcpStream>, ShownChain)> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(trusted), Arc::clone(&provider));
    let verifier = Arc::new(NotingVerifier {
        inner: verifier.build().ok(),
        provider: Arc::clone(&provider),
        shown: Mutex::default(),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let secured = connector.connect(name, stream).await?;
    let shown = verifier.shown.lock().take();
    let shown = shown.ok_or_else(|| io::Error::other("no certificate was shown"))?;
    Ok((secured, shown))
}
