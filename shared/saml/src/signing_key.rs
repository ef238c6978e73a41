//! The key that requests are signed with.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256},
};
use chrono::{Datelike, Days, NaiveDate};
use rcgen::{
    CertificateParams, DnType, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    RsaKeySize, date_time_ymd,
};
use zeroize::Zeroizing;

use crate::{
    certificate::{CertificateError, SigningCertificate},
    names,
};

/// Which kind of key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKeyKind {
    /// RSA with 3072 bits: every provider accepts it.
    Rsa,
    /// The elliptic curve P-256: small and fast, and not every provider knows it.
    P256,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// It was not made.
    #[error("the signing key was not made: {0}")]
    Generation(#[from] rcgen::Error),
    /// It is damaged, or of another kind.
    #[error("the signing key is no RSA key of 2048 bits or more and no P-256 key in PKCS#8")]
    Key,
    /// Its certificate is damaged.
    #[error("the signing key's certificate can not be read: {0}")]
    Certificate(#[from] CertificateError),
    /// The certificate is of another key.
    #[error("the signing key's certificate belongs to another key")]
    OtherKey,
    /// The library refuses to sign.
    #[error("the signing key can not sign")]
    Signing,
}

/// A key that requests are signed with, and its certificate.
pub struct SigningKey {
    pair: KeyPairKind,
    pkcs8: Zeroizing<Vec<u8>>,
    certificate: SigningCertificate,
}

enum KeyPairKind {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    /// Makes a key, and a certificate of itself that is valid for so many days from `today`.
    ///
    /// The randomness is the cryptographic library's own: it takes none from outside.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Generation`], and the errors of [`Self::from_pkcs8`].
    pub fn generate(
        kind: SigningKeyKind,
        name: &str,
        today: NaiveDate,
        days: u64,
    ) -> Result<Self, SigningKeyError> {
        let key = match kind {
            SigningKeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?,
            SigningKeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        };
        let date = |date: NaiveDate| {
            // Months and days of a calendar date fit.
            let (month, day) = (u8::try_from(date.month()), u8::try_from(date.day()));
            date_time_ymd(date.year(), month.unwrap_or(1), day.unwrap_or(1))
        };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date(today);
        params.not_after = date(today.checked_add_days(Days::new(days)).unwrap_or(today));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        Self::from_pkcs8(Zeroizing::new(key.serialize_der()), certificate.der())
    }

    /// Reads a key in PKCS#8 and its certificate in DER.
    ///
    /// # Errors
    ///
    /// When one of them is damaged, or the certificate is of another key.
    pub fn from_pkcs8(
        pkcs8: Zeroizing<Vec<u8>>,
        certificate: &[u8],
    ) -> Result<Self, SigningKeyError> {
        let pair = match RsaKeyPair::from_pkcs8(&pkcs8) {
            Ok(pair) => KeyPairKind::Rsa(pair),
            Err(_) => KeyPairKind::P256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
                    .map_err(|_| SigningKeyError::Key)?,
            ),
        };
        let key = Self {
            pair,
            pkcs8,
            certificate: SigningCertificate::from_der(certificate)?,
        };
        if !key.certificate.key_kind().is_accepted() {
            return Err(SigningKeyError::Key);
        }
        let probe = key.sign(b"probe")?;
        let algorithm = crate::signature::signature_algorithm(key.algorithm());
        let belongs = algorithm
            .is_some_and(|algorithm| key.certificate.has_signed(algorithm, b"probe", &probe));
        match belongs {
            true => Ok(key),
            false => Err(SigningKeyError::OtherKey),
        }
    }

    /// Returns the key in PKCS#8, to be kept sealed.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// Returns the key's certificate.
    #[must_use]
    pub fn certificate(&self) -> &SigningCertificate {
        &self.certificate
    }

    /// Returns the name of the algorithm that it signs by.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            KeyPairKind::Rsa(_) => names::RSA_SHA256,
            KeyPairKind::P256(_) => names::ECDSA_SHA256,
        }
    }

    /// Signs a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            KeyPairKind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| SigningKeyError::Signing)?;
                Ok(signature)
            }
            KeyPairKind::P256(pair) => {
                let signature = pair
                    .sign(&random, message)
                    .map_err(|_| SigningKeyError::Signing)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
