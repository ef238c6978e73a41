//! The two kinds of challenge that are answered here, and the certificate that answers one of them.

use std::fmt;

use instant_acme::ChallengeType;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

/// How a host is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChallengeKind {
    /// By a certificate at port 443 (RFC 8737).
    TlsAlpn,
    /// By a text at port 80 (RFC 8555 section 8.3).
    Http,
}

impl ChallengeKind {
    /// Returns what the protocol calls it.
    pub(crate) fn protocol_type(self) -> ChallengeType {
        match self {
            Self::TlsAlpn => ChallengeType::TlsAlpn01,
            Self::Http => ChallengeType::Http01,
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TlsAlpn => "TLS-ALPN-01",
            Self::Http => "HTTP-01",
        })
    }
}

/// Says whether a text can be the token of a challenge: letters of base64 for URLs, and as many as authorities use.
pub(crate) fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=256).contains(&text.len()) && text.bytes().all(is_letter)
}

/// Makes the certificate and key (PEM) that answer a TLS-ALPN-01 challenge.
pub(crate) fn make_answer_certificate(host: &str, digest: &[u8]) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests;
