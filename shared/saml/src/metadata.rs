//! What an identity provider publishes about itself.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use crate::{
    certificate::{CertificateError, PublicKeyKind, SigningCertificate},
    instant::{parse_duration, parse_instant},
    markup::{Comments, MarkupError, XmlLimits},
    names::{DSIG, METADATA, MessageBinding, PROTOCOL},
    signature::{SignatureError, verify_enveloped},
    xml::{self, XmlElement, clip},
};

/// The most certificates and endpoints of a provider.
const MOST_PARTS: usize = 16;
/// The longest entity id and URL, in bytes.
const LONGEST_URL: usize = 1024;

/// An address of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How messages get there.
    pub binding: MessageBinding,
    /// The URL.
    pub location: String,
}

/// What an identity provider publishes about itself, or an administrator enters about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderMetadata {
    /// The provider's name.
    pub entity_id: String,
    /// Where people are sent to log in.
    pub single_sign_on: Vec<Endpoint>,
    /// Where they are sent to log out, if the provider has that.
    pub single_logout: Vec<Endpoint>,
    /// The certificates of the keys it signs with: several while it changes its key.
    pub certificates: Vec<SigningCertificate>,
    /// Until when this is true.
    pub valid_until: Option<DateTime<Utc>>,
    /// After how long it should be loaded again.
    pub cache_duration: Option<TimeDelta>,
    /// It accepts signed requests only.
    pub wants_signed_requests: bool,
}

/// Why metadata can not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The markup is refused.
    #[error("the metadata can not be read: {0}")]
    Markup(#[from] MarkupError),
    /// It is something else.
    #[error(
        "this is a <{0}>, not the metadata of one provider (<EntityDescriptor>): check the URL or file"
    )]
    NotProvider(String),
    /// It lists many providers.
    #[error(
        "this is a list of providers (<EntitiesDescriptor>): give the metadata of the one that people log in with"
    )]
    Several,
    /// It describes another kind of party.
    #[error(
        "\"{0}\" is described, but not as an identity provider of SAML 2.0: a service's own metadata may have been given in place of the provider's"
    )]
    NotIdentityProvider(String),
    /// A key is pinned and it is not signed.
    #[error("the metadata is not signed, and a certificate is set that must have signed it")]
    NotSigned,
    /// A key is pinned and the signature is not accepted.
    #[error("the signature of the metadata is not accepted: {0}")]
    Signature(#[from] SignatureError),
    /// No name.
    #[error(
        "the metadata does not say how the provider is called (entityID, at most {LONGEST_URL} bytes)"
    )]
    EntityId,
    /// Nowhere to log in.
    #[error(
        "the metadata has no address to log in at by the HTTP-Redirect or HTTP-POST binding (SingleSignOnService)"
    )]
    NoSignOn,
    /// An address is no URL.
    #[error("\"{0}\" in the metadata is no http or https URL of at most {LONGEST_URL} bytes")]
    Url(String),
    /// No usable key.
    #[error(
        "the metadata has no certificate for signing with RSA of 2048 bits and more, or an elliptic curve of 256, 384 or 521"
    )]
    NoKey,
    /// A certificate is damaged.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Too many of something.
    #[error(
        "the metadata has more than {MOST_PARTS} certificates or addresses: leave out those that are not used"
    )]
    TooMany,
    /// A time or duration can not be read.
    #[error("{name} of the metadata is \"{value}\", which can not be read")]
    Time {
        /// Which.
        name: &'static str,
        /// What stands there.
        value: String,
    },
}

/// Something an administrator should know of metadata that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataWarning {
    /// A certificate ends, or has ended. It is used all the same.
    CertificateEnds {
        /// Its SHA-256.
        fingerprint: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Signatures of a key are not accepted.
    KeyNotAccepted {
        /// The SHA-256 of its certificate.
        fingerprint: String,
        /// The kind of key.
        kind: PublicKeyKind,
    },
    /// The metadata ends; logins stop then.
    MetadataEnds(DateTime<Utc>),
    /// An address is reached without TLS.
    NotEncrypted(String),
}

impl fmt::Display for MetadataWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateEnds { fingerprint, at } => write!(
                formatter,
                "the provider's certificate {fingerprint} ends at {at}: expect a new one"
            ),
            Self::KeyNotAccepted { fingerprint, kind } => write!(
                formatter,
                "signatures with the provider's certificate {fingerprint} are not accepted: its key is {kind}"
            ),
            Self::MetadataEnds(at) => write!(
                formatter,
                "the provider's metadata ends at {at}, and logins stop then: load it again before"
            ),
            Self::NotEncrypted(url) => write!(formatter, "{url} is reached without TLS"),
        }
    }
}

impl ProviderMetadata {
    /// Reads metadata.
    ///
    /// With `pinned` certificates, one of their keys must have signed it. Without, a signature is not looked at: then the
    /// metadata is as trustworthy as the way it came.
    ///
    /// # Errors
    ///
    /// What is wrong, in words for an administrator.
    pub fn parse(
        bytes: &[u8],
        pinned: &[SigningCertificate],
        limits: &XmlLimits,
    ) -> Result<Self, MetadataError> {
        if bytes.len() > limits.bytes {
            return Err(MarkupError::TooLong(limits.bytes).into());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| MarkupError::NotUtf8)?;
        let document = xml::parse(text, limits, Comments::Allowed)?;
        let root = XmlElement::root(&document);
        let root = root.ok_or_else(|| MetadataError::NotProvider(String::new()))?;
        if root.is(METADATA, "EntitiesDescriptor") {
            return Err(MetadataError::Several);
        }
        if !root.is(METADATA, "EntityDescriptor") {
            return Err(MetadataError::NotProvider(clip(root.local_name())));
        }
        if pinned.is_empty() {
            return Self::read(root);
        }
        let signed = verify_enveloped(root, pinned)?.ok_or(MetadataError::NotSigned)?;
        Self::read(signed.element())
    }

    fn read(entity: XmlElement<'_>) -> Result<Self, MetadataError> {
        let entity_id = entity.attribute("entityID").unwrap_or_default().trim();
        if entity_id.is_empty() || entity_id.len() > LONGEST_URL {
            return Err(MetadataError::EntityId);
        }
        let role = entity
            .children_named(METADATA, "IDPSSODescriptor")
            .find(|role| {
                let protocols = role.attribute("protocolSupportEnumeration");
                let mut protocols = protocols.unwrap_or_default().split_ascii_whitespace();
                protocols.any(|protocol| protocol == PROTOCOL)
            });
        let role = role.ok_or_else(|| MetadataError::NotIdentityProvider(clip(entity_id)))?;
        let single_sign_on = read_endpoints(role, "SingleSignOnService")?;
        if single_sign_on.is_empty() {
            return Err(MetadataError::NoSignOn);
        }
        let certificates = read_certificates(role)?;
        if !certificates.iter().any(|one| one.key_kind().is_accepted()) {
            return Err(MetadataError::NoKey);
        }
        Ok(Self {
            entity_id: entity_id.to_owned(),
            single_sign_on,
            single_logout: read_endpoints(role, "SingleLogoutService")?,
            certificates,
            valid_until: read_earliest(entity, role, "validUntil", parse_instant)?,
            cache_duration: read_earliest(entity, role, "cacheDuration", parse_duration)?,
            wants_signed_requests: role
                .attribute("WantAuthnRequestsSigned")
                .is_some_and(|value| matches!(value.trim(), "true" | "1")),
        })
    }

    /// Returns where people are sent by a binding.
    #[must_use]
    pub fn sign_on_url(&self, binding: MessageBinding) -> Option<&str> {
        let mut endpoints = self.single_sign_on.iter();
        endpoints
            .find(|endpoint| endpoint.binding == binding)
            .map(|endpoint| endpoint.location.as_str())
    }

    /// Returns when the metadata ended, if it has by this time.
    #[must_use]
    pub fn ended_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.valid_until.filter(|until| *until <= now)
    }

    /// Returns what an administrator should know: what ends before `soon`, and what is weak.
    #[must_use]
    pub fn warnings(&self, soon: DateTime<Utc>) -> Vec<MetadataWarning> {
        let mut warnings = Vec::new();
        for certificate in &self.certificates {
            let (_, at) = certificate.validity();
            let kind = certificate.key_kind();
            let fingerprint = certificate.fingerprint();
            if !kind.is_accepted() {
                warnings.push(MetadataWarning::KeyNotAccepted { fingerprint, kind });
            } else if at < soon {
                warnings.push(MetadataWarning::CertificateEnds { fingerprint, at });
            }
        }
        let ends = self.valid_until.filter(|until| *until < soon);
        warnings.extend(ends.map(MetadataWarning::MetadataEnds));
        let endpoints = self.single_sign_on.iter().chain(&self.single_logout);
        let plain = endpoints.filter(|endpoint| !endpoint.location.starts_with("https:"));
        warnings.extend(plain.map(|one| MetadataWarning::NotEncrypted(one.location.clone())));
        warnings
    }
}

/// Reads the addresses of a kind. Those of bindings that are not spoken here are left out.
fn read_endpoints(
    role: XmlElement<'_>,
    name: &'static str,
) -> Result<Vec<Endpoint>, MetadataError> {
    let mut endpoints = Vec::new();
    for element in role.children_named(METADATA, name) {
        let binding = element.attribute("Binding").unwrap_or_default();
        let Some(binding) = MessageBinding::from_uri(binding.trim()) else {
            continue;
        };
        if endpoints.len() == MOST_PARTS {
            return Err(MetadataError::TooMany);
        }
        let location = element.attribute("Location").unwrap_or_default().trim();
        endpoints.push(Endpoint {
            binding,
            location: read_url(location)?,
        });
    }
    Ok(endpoints)
}

fn read_url(text: &str) -> Result<String, MetadataError> {
    let is_good = |url: &Url| matches!(url.scheme(), "https" | "http") && url.has_host();
    let parsed = Url::parse(text).ok().filter(is_good);
    match parsed.filter(|_| text.len() <= LONGEST_URL) {
        // As it is written: providers compare it with the destination of a request.
        Some(_) => Ok(text.to_owned()),
        None => Err(MetadataError::Url(clip(text))),
    }
}

/// Reads the certificates of keys that sign, or whose use is not said.
fn read_certificates(role: XmlElement<'_>) -> Result<Vec<SigningCertificate>, MetadataError> {
    let mut certificates: Vec<SigningCertificate> = Vec::new();
    let elements = role
        .children_named(METADATA, "KeyDescriptor")
        .filter(|key| key.attribute("use").is_none_or(|usage| usage == "signing"))
        .flat_map(|key| key.children_named(DSIG, "KeyInfo"))
        .flat_map(|info| info.children_named(DSIG, "X509Data"))
        .flat_map(|data| data.children_named(DSIG, "X509Certificate"));
    for element in elements {
        let certificate = SigningCertificate::from_text(&element.text()?)?;
        if certificates.contains(&certificate) {
            continue;
        }
        if certificates.len() == MOST_PARTS {
            return Err(MetadataError::TooMany);
        }
        certificates.push(certificate);
    }
    Ok(certificates)
}

/// Reads a time or duration that the provider and its role may each have. The smaller one counts.
fn read_earliest<T: Ord>(
    entity: XmlElement<'_>,
    role: XmlElement<'_>,
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, MetadataError> {
    let mut earliest = None;
    for text in [entity, role]
        .into_iter()
        .filter_map(|one| one.attribute(name))
    {
        let wrong = || MetadataError::Time {
            name,
            value: clip(text),
        };
        let value = parse(text).ok_or_else(wrong)?;
        earliest = match earliest {
            Some(other) => Some(std::cmp::min(other, value)),
            None => Some(value),
        };
    }
    Ok(earliest)
}

#[cfg(test)]
mod tests;
