//! Signing a document in the form that signatures are accepted in.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use uppsala::XmlWriter;

use crate::{
    canonical::canonical_bytes,
    certificate::SigningCertificate,
    markup::{Comments, MarkupError, XmlLimits},
    names::{DSIG, ENVELOPED, EXCLUSIVE, SHA256},
    signing_key::{SigningKey, SigningKeyError},
    xml::{self, XmlElement},
};

/// The places of the two values. Nothing else in a document looks like them: its texts are escaped.
const EMPTY_DIGEST: &str = "<ds:DigestValue></ds:DigestValue>";
const EMPTY_VALUE: &str = "<ds:SignatureValue></ds:SignatureValue>";

/// Why a document was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// It has letters that XML can not have.
    #[error("it is no XML: {0}")]
    Markup(#[from] MarkupError),
    /// It can not be brought into canonical form.
    #[error("it has no canonical form: {0}")]
    NoCanonicalForm(String),
    /// It has no place for the signature.
    #[error("it has no place for a signature")]
    NoPlace,
    /// The key does not sign.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
}

/// Writes a signature of the element with this id. Its two values are still empty.
pub(crate) fn signature_template(id: &str, key: &SigningKey) -> String {
    let target = format!("#{id}");
    let mut xml = XmlWriter::new();
    xml.start_element("ds:Signature", &[("xmlns:ds", DSIG)]);
    xml.start_element("ds:SignedInfo", &[]);
    xml.empty_element("ds:CanonicalizationMethod", &[("Algorithm", EXCLUSIVE)]);
    xml.empty_element("ds:SignatureMethod", &[("Algorithm", key.algorithm())]);
    xml.start_element("ds:Reference", &[("URI", &target)]);
    xml.start_element("ds:Transforms", &[]);
    for transform in [ENVELOPED, EXCLUSIVE] {
        xml.empty_element("ds:Transform", &[("Algorithm", transform)]);
    }
    xml.end_element("ds:Transforms");
    xml.empty_element("ds:DigestMethod", &[("Algorithm", SHA256)]);
    xml.raw(EMPTY_DIGEST);
    xml.end_element("ds:Reference");
    xml.end_element("ds:SignedInfo");
    xml.raw(EMPTY_VALUE);
    xml.raw(&key_info(key.certificate()));
    xml.end_element("ds:Signature");
    xml.into_string()
}

/// Writes a certificate as signatures and metadata have it. The prefix `ds` must be declared.
pub(crate) fn key_info(certificate: &SigningCertificate) -> String {
    let mut xml = XmlWriter::new();
    for name in ["ds:KeyInfo", "ds:X509Data", "ds:X509Certificate"] {
        xml.start_element(name, &[]);
    }
    xml.text(&certificate.to_base64());
    for name in ["ds:X509Certificate", "ds:X509Data", "ds:KeyInfo"] {
        xml.end_element(name);
    }
    xml.into_string()
}

/// Fills in the digest of a document that has a signature's template directly inside, then the signature over that digest.
pub(crate) fn fill_signature(document: &str, key: &SigningKey) -> Result<String, SigningError> {
    let content = canonical_part(document, |root, signature| {
        canonical_bytes(root, Some(signature), &[])
    })?;
    let digest = STANDARD.encode(digest::digest(&digest::SHA256, &content));
    let filled = format!("<ds:DigestValue>{digest}</ds:DigestValue>");
    let document = document.replacen(EMPTY_DIGEST, &filled, 1);
    let info = canonical_part(&document, |_, signature| {
        let info = signature.children().next();
        canonical_bytes(info.unwrap_or(signature), None, &[])
    })?;
    let value = STANDARD.encode(key.sign(&info)?);
    let filled = format!("<ds:SignatureValue>{value}</ds:SignatureValue>");
    Ok(document.replacen(EMPTY_VALUE, &filled, 1))
}

/// Parses a document, and returns what a function of it and its signature returns.
fn canonical_part(
    text: &str,
    part: impl Fn(XmlElement<'_>, XmlElement<'_>) -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, SigningError> {
    let document = xml::parse(text, &XmlLimits::default(), Comments::Refused)?;
    let root = XmlElement::root(&document).ok_or(SigningError::NoPlace)?;
    let signature = root.children_named(DSIG, "Signature").next();
    part(root, signature.ok_or(SigningError::NoPlace)?).map_err(SigningError::NoCanonicalForm)
}
