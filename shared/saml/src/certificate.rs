//! The certificates that signing keys are published in.

use std::fmt;

use aws_lc_rs::{
    digest,
    signature::{UnparsedPublicKey, VerificationAlgorithm},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use x509_parser::{
    pem::parse_x509_pem,
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
};

/// The longest certificate that is read, in bytes.
const LONGEST: usize = 16 * 1024;
/// The fewest bits of an RSA key that is accepted.
const FEWEST_RSA_BITS: usize = 2048;

/// Why a certificate can not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is neither PEM nor base64 of a certificate.
    #[error("a certificate is not in PEM or base64: copy it from the provider's page again")]
    Encoding,
    /// It is no X.509 certificate.
    #[error("a certificate is no X.509 certificate: copy it from the provider's page again")]
    NotX509,
}

/// What kind of public key a certificate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyKind {
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// An elliptic curve of so many bits.
    EllipticCurve(usize),
    /// Something that no signature is accepted from.
    Other,
}

impl PublicKeyKind {
    /// Tells whether signatures of such a key are accepted.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        match self {
            Self::Rsa(bits) => bits >= FEWEST_RSA_BITS,
            Self::EllipticCurve(bits) => matches!(bits, 256 | 384 | 521),
            Self::Other => false,
        }
    }
}

impl fmt::Display for PublicKeyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(formatter, "RSA with {bits} bits"),
            Self::EllipticCurve(bits) => write!(formatter, "an elliptic curve of {bits} bits"),
            Self::Other => formatter.write_str("a kind that is not supported"),
        }
    }
}

/// A certificate whose key signs.
///
/// It is trusted because somebody configured it. Its dates and its issuer are facts to show; they decide nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningCertificate {
    der: Vec<u8>,
    public_key: Vec<u8>,
    kind: PublicKeyKind,
    subject: String,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
}

impl SigningCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// [`CertificateError::NotX509`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > LONGEST {
            return Err(CertificateError::NotX509);
        }
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::NotX509)?;
        let kind = match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => PublicKeyKind::Rsa(key.key_size()),
            Ok(PublicKey::EC(point)) => PublicKeyKind::EllipticCurve(point.key_size()),
            _ => PublicKeyKind::Other,
        };
        let time = |seconds| DateTime::from_timestamp(seconds, 0);
        let validity = parsed.validity();
        let (Some(not_before), Some(not_after), []) = (
            time(validity.not_before.timestamp()),
            time(validity.not_after.timestamp()),
            rest,
        ) else {
            return Err(CertificateError::NotX509);
        };
        Ok(Self {
            der: der.to_vec(),
            public_key: parsed.public_key().raw.to_vec(),
            kind,
            subject: crate::xml::clip(&parsed.subject().to_string()),
            not_before,
            not_after,
        })
    }

    /// Reads a certificate in PEM, or the base64 of PEM without its first and last line.
    ///
    /// # Errors
    ///
    /// Any [`CertificateError`].
    pub fn from_text(text: &str) -> Result<Self, CertificateError> {
        if text.len() > 2 * LONGEST {
            return Err(CertificateError::Encoding);
        }
        let der = if text.trim_start().starts_with("-----BEGIN") {
            let (_, pem) =
                parse_x509_pem(text.as_bytes()).map_err(|_| CertificateError::Encoding)?;
            pem.contents
        } else {
            let letters: String = text.split_ascii_whitespace().collect();
            STANDARD
                .decode(letters)
                .map_err(|_| CertificateError::Encoding)?
        };
        Self::from_der(&der)
    }

    /// Returns the certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the certificate in base64, as XML has it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.der)
    }

    /// Returns the kind of its key.
    #[must_use]
    pub fn key_kind(&self) -> PublicKeyKind {
        self.kind
    }

    /// Returns whom it names.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns when it begins and ends.
    #[must_use]
    pub fn validity(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.not_before, self.not_after)
    }

    /// Returns the SHA-256 of the certificate, in hex: what people compare certificates by.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.der))
    }

    /// Tells whether its key made the signature, by an algorithm for keys of its kind.
    pub(crate) fn has_signed(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.kind.is_accepted()
            && UnparsedPublicKey::new(algorithm, &self.public_key)
                .verify(message, signature)
                .is_ok()
    }
}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningCertificate")
            .field("subject", &self.subject)
            .field("kind", &self.kind)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
