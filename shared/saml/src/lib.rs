//! The core of a SAML 2.0 service provider: who logs in is decided by an organisation's identity provider.
//!
//! A login goes through it in this order. [`ProviderMetadata`] says where the provider is and which keys it signs with;
//! [`ServiceProvider`] is what the provider is given about us. [`AuthnRequest`] sends the browser to the provider, signed.
//! What the browser brings back goes through [`verify_response`], which gives a [`VerifiedAssertion`] or says why not.
//!
//! Forged logins come from two readers that disagree: one checks a signature, the other reads the name. Therefore a message
//! is parsed once (`xml`), and only a narrow form is accepted (`signature`): one assertion, signed as a whole, by a key that
//! was configured, with algorithms from a short list. The element whose bytes were compared with the signature is itself
//! what values are read from (`assertion`), by a type that can go down in the tree and nowhere else.
//!
//! Nothing here does IO or reads a clock. Time and random ids are parameters; only keys are made with the randomness of the
//! cryptographic library, which takes none from outside. Two things are the caller's: to accept an assertion's id once
//! ([`VerifiedAssertion::replay_until`]), and to remember which browser a request was made for.

mod assertion;
mod authn_request;
mod canonical;
mod certificate;
mod error;
mod instant;
mod markup;
mod metadata;
mod names;
mod response;
mod service_provider;
mod signature;
mod signing;
mod signing_key;
mod xml;

pub use assertion::{NameId, VerifiedAssertion};
pub use authn_request::{AuthnRequest, AuthnRequestError, PostForm, request_id};
pub use certificate::{CertificateError, PublicKeyKind, SigningCertificate};
pub use error::SamlError;
pub use markup::{MarkupError, XmlLimits};
pub use metadata::{Endpoint, MetadataError, MetadataWarning, ProviderMetadata};
pub use names::{MessageBinding, NAME_ID_EMAIL, NAME_ID_PERSISTENT, NAME_ID_TRANSIENT};
pub use response::{
    Expectation, ExpectedRequest, claimed_audiences, verify_response, verify_response_xml,
};
pub use service_provider::ServiceProvider;
pub use signature::SignatureError;
pub use signing::SigningError;
pub use signing_key::{SigningKey, SigningKeyError, SigningKeyKind};
