//! A certificate as it is kept: chain and key in one file, so that both are replaced in one step.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

/// Why a text is no certificate with its key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateTextError {
    /// It is no PEM, or lacks a part.
    #[error("it lacks a certificate or its key: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Certificate and key do not fit.
    #[error("the certificate and its key can not be used: {0}")]
    Pair(#[from] rustls::Error),
    /// The certificate can not be understood.
    #[error("the certificate can not be read")]
    X509,
}

/// For whom and until when a certificate is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    pub(crate) names: BTreeSet<String>,
    pub(crate) begins: DateTime<Utc>,
    pub(crate) ends: DateTime<Utc>,
}

impl CertificateFacts {
    /// Says whether it is for all these hosts.
    pub(crate) fn is_for(&self, hosts: &[String]) -> bool {
        hosts.iter().all(|host| self.names.contains(host))
    }

    /// Returns when a third of its time is left.
    pub(crate) fn renewal_time(&self) -> DateTime<Utc> {
        self.ends - (self.ends - self.begins) / 3
    }

    fn read(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(leaf).ok()?;
        let time =
            |time: x509_parser::time::ASN1Time| DateTime::from_timestamp(time.timestamp(), 0);
        let mut names = BTreeSet::new();
        if let Some(found) = leaf.subject_alternative_name().ok()? {
            for name in &found.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.insert(name.to_ascii_lowercase());
                }
            }
        }
        Some(Self {
            names,
            begins: time(leaf.validity().not_before)?,
            ends: time(leaf.validity().not_after)?,
        })
    }
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(crate) struct KeptCertificate {
    pub(crate) facts: CertificateFacts,
    pub(crate) key: Arc<CertifiedKey>,
}

impl KeptCertificate {
    /// Reads PEM with a chain and its key.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, CertificateTextError> {
        let (chain, key) = read_parts(text)?;
        let leaf = chain.first().ok_or(CertificateTextError::X509)?;
        let facts = CertificateFacts::read(leaf).ok_or(CertificateTextError::X509)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider())?;
        Ok(Self {
            facts,
            key: Arc::new(key),
        })
    }
}

/// Reads PEM with the answer to a challenge, which is a certificate that only an authority understands.
pub(crate) fn parse_answer(text: &[u8]) -> Result<Arc<CertifiedKey>, CertificateTextError> {
    let (chain, key) = read_parts(text)?;
    let key = default_provider().key_provider.load_private_key(key)?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

type CertificateParts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_parts(text: &[u8]) -> Result<CertificateParts, CertificateTextError> {
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_slice(text)?))
}
