//! Which certificate a connection is shown.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bowline_service_kit::FileWatch;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{AcmePlan, StoreError, store::AcmeStore};

/// The protocol that an authority asks for when it looks at a TLS-ALPN-01 answer (RFC 8737): a listener offers it, last.
pub const TLS_ALPN: &[u8] = b"acme-tls/1";

/// Shows the newest certificate there is, whichever process ordered it, and answers TLS-ALPN-01 challenges. A connection that
/// is open keeps what it was shown.
#[derive(Debug)]
pub struct AcmeResolver {
    store: AcmeStore,
    hosts: Vec<String>,
    watch: FileWatch,
    current: ArcSwapOption<CertifiedKey>,
}

impl AcmeResolver {
    /// Reads what there is: there need not be a certificate yet.
    ///
    /// # Errors
    ///
    /// When the directory can not be used.
    pub fn open(plan: &AcmePlan) -> Result<Self, StoreError> {
        let store = AcmeStore::open(plan)?;
        let resolver = Self {
            watch: FileWatch::new(vec![store.certificate_file()]),
            store,
            hosts: plan.hosts.clone(),
            current: ArcSwapOption::empty(),
        };
        resolver.read_again();
        Ok(resolver)
    }

    /// Reads the certificate; while it can not be used, the one before stays.
    fn read_again(&self) {
        match self.store.read_certificate() {
            Ok(Some(certificate)) => self.current.store(Some(certificate.key)),
            Ok(None) => {}
            Err(error) => {
                self.watch.report_again();
                tracing::warn!(%error, "the certificate before stays in use");
            }
        }
    }

    fn answer_challenge(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        // The name comes from anybody, and becomes part of a file's.
        let name = name?.to_ascii_lowercase();
        let host = self.hosts.iter().find(|host| **host == name)?;
        match self.store.read_tls_answer(host) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "a challenge can not be answered");
                None
            }
        }
    }
}

impl ResolvesServerCert for AcmeResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut offered = hello.alpn().into_iter().flatten();
        if offered.next() == Some(TLS_ALPN) && offered.next().is_none() {
            return self.answer_challenge(hello.server_name());
        }
        if self.watch.check_for_changes() {
            self.read_again();
        }
        self.current.load_full()
    }
}
