//! Signatures of elements: one narrow form is accepted, and everything else is refused before anything is computed.
//!
//! ```text
//! <Assertion ID="_a">
//!   <Signature>                         directly inside of what it signs
//!     <SignedInfo>
//!       <CanonicalizationMethod/>       exclusive, without comments
//!       <SignatureMethod/>              RSA or ECDSA with SHA-256 and up
//!       <Reference URI="#_a">           one, of the element that the signature stands in
//!         <Transforms>                  leave the signature out, then the same canonicalisation
//!         <DigestMethod/><DigestValue/> SHA-256 and up
//!     <SignatureValue/>
//!     <KeyInfo/>                        is not read
//! ```
//!
//! Three things are then checked, in the cheapest order: a configured key made the signature of `SignedInfo`, and the
//! element without its signature has the digest that stands there. The reference is not looked up: its URI must be the id
//! of the element that the signature stands in, ids are unique in a parsed document, and that element is what is digested
//! and what is returned.

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        VerificationAlgorithm,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    canonical::canonical_bytes,
    certificate::SigningCertificate,
    markup::MarkupError,
    names::{self, DSIG, ENVELOPED, EXCLUSIVE},
    xml::{XmlElement, clip},
};

/// The most prefixes whose declarations are signed with an element.
const MOST_PREFIXES: usize = 16;

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// What it signs has no id.
    #[error("what it signs has no ID")]
    NoId,
    /// It has an element or attribute that is not expected there, or lacks one.
    #[error("its <{0}> has another form than signatures of SAML have")]
    Form(&'static str),
    /// It carries content of its own.
    #[error("it has content of its own (<Object>), which is not accepted")]
    Object,
    /// Another canonicalisation.
    #[error(
        "its canonicalisation is \"{0}\": set the provider to exclusive canonicalisation without comments"
    )]
    Canonicalization(String),
    /// Another signature algorithm.
    #[error("its algorithm is \"{0}\": set the provider to RSA or ECDSA with SHA-256 or better")]
    Algorithm(String),
    /// Another digest.
    #[error("its digest is \"{0}\": set the provider to SHA-256 or better")]
    DigestAlgorithm(String),
    /// Another list of transforms.
    #[error(
        "its transforms are not those of SAML: the enveloped signature, then exclusive canonicalisation without comments"
    )]
    Transforms,
    /// No reference, or several.
    #[error("it has {0} references, not one")]
    References(usize),
    /// It refers to something else than the element it stands in.
    #[error("it is a signature of \"{0}\", not of the element that it stands in")]
    Target(String),
    /// A value in it is no base64.
    #[error("its <{0}> is not in base64")]
    Base64(&'static str),
    /// None of the provider's configured keys made it.
    #[error(
        "no configured certificate of the provider belongs to the key that made it: if the provider has a new certificate, load its metadata again"
    )]
    Key,
    /// What it signs was changed.
    #[error("what it signs was changed after signing")]
    Digest,
    /// The element can not be brought into canonical form.
    #[error("what it signs has no canonical form: {0}")]
    NoCanonicalForm(String),
    /// The markup around it is refused.
    #[error(transparent)]
    Markup(#[from] MarkupError),
}

/// An element whose content, its signature aside, is as somebody with a configured key signed it.
///
/// Only this module makes it.
#[derive(Clone, Copy)]
pub(crate) struct SignedElement<'d>(XmlElement<'d>);

impl<'d> SignedElement<'d> {
    /// Returns the element, from which one comes only to what is inside of it.
    pub(crate) fn element(self) -> XmlElement<'d> {
        self.0
    }

    /// Returns the one element of a name directly inside, which is signed with it.
    pub(crate) fn one_child(
        self,
        namespace: &'static str,
        name: &'static str,
    ) -> Result<Option<Self>, MarkupError> {
        // What is inside of the signature is not signed.
        debug_assert!(namespace != DSIG, "a signature does not sign itself");
        Ok(self.0.one_child(namespace, name)?.map(Self))
    }
}

/// Checks the signature that stands directly inside of an element. Returns nothing when there is none.
pub(crate) fn verify_enveloped<'d>(
    element: XmlElement<'d>,
    certificates: &[SigningCertificate],
) -> Result<Option<SignedElement<'d>>, SignatureError> {
    let Some(signature) = element.one_child(DSIG, "Signature")? else {
        return Ok(None);
    };
    let form = SignatureForm::read(element, signature)?;
    let signed = canonical_bytes(form.signed_info, None, &form.info_prefixes)
        .map_err(SignatureError::NoCanonicalForm)?;
    let is_known = certificates
        .iter()
        .any(|certificate| certificate.has_signed(form.algorithm, &signed, &form.value));
    if !is_known {
        return Err(SignatureError::Key);
    }
    let content = canonical_bytes(element, Some(signature), &form.content_prefixes)
        .map_err(SignatureError::NoCanonicalForm)?;
    if digest::digest(form.digest, &content).as_ref() != form.digest_value {
        return Err(SignatureError::Digest);
    }
    Ok(Some(SignedElement(element)))
}

/// What a signature of the accepted form says.
struct SignatureForm<'d> {
    signed_info: XmlElement<'d>,
    info_prefixes: Vec<String>,
    algorithm: &'static dyn VerificationAlgorithm,
    content_prefixes: Vec<String>,
    digest: &'static digest::Algorithm,
    digest_value: Vec<u8>,
    value: Vec<u8>,
}

impl<'d> SignatureForm<'d> {
    fn read(element: XmlElement<'d>, signature: XmlElement<'d>) -> Result<Self, SignatureError> {
        check_attributes(signature, "Signature", &["Id"])?;
        if signature.children().any(|child| child.is(DSIG, "Object")) {
            return Err(SignatureError::Object);
        }
        let [signed_info, value] = match children_of(signature, "Signature")?.as_slice() {
            [signed_info, value] => [*signed_info, *value],
            [signed_info, value, key_info] if key_info.is(DSIG, "KeyInfo") => {
                [*signed_info, *value]
            }
            _ => return Err(SignatureError::Form("Signature")),
        };
        expect(signed_info, "SignedInfo", &[])?;
        expect(value, "SignatureValue", &["Id"])?;

        let parts = children_of(signed_info, "SignedInfo")?;
        let references = parts.iter().filter(|part| part.is(DSIG, "Reference"));
        let references = references.count();
        if references != 1 {
            return Err(SignatureError::References(references));
        }
        let [canonicalization, method, reference] = parts.as_slice() else {
            return Err(SignatureError::Form("SignedInfo"));
        };
        let info_prefixes = read_canonicalization(*canonicalization)?;
        expect(*method, "SignatureMethod", &["Algorithm"])?;
        let algorithm = algorithm_of(*method);
        let algorithm = signature_algorithm(algorithm)
            .ok_or_else(|| SignatureError::Algorithm(clip(algorithm)))?;
        expect_empty(*method, "SignatureMethod")?;

        expect(*reference, "Reference", &["URI"])?;
        let id = element.attribute("ID").filter(|id| !id.is_empty());
        let id = id.ok_or(SignatureError::NoId)?;
        let target = reference.attribute("URI").unwrap_or_default();
        if target.strip_prefix('#') != Some(id) {
            return Err(SignatureError::Target(clip(target)));
        }
        let parts = children_of(*reference, "Reference")?;
        let [transforms, digest_method, digest_value] = parts.as_slice() else {
            return Err(SignatureError::Form("Reference"));
        };
        let content_prefixes = read_transforms(*transforms)?;
        expect(*digest_method, "DigestMethod", &["Algorithm"])?;
        let digest = algorithm_of(*digest_method);
        let digest = digest_algorithm(digest)
            .ok_or_else(|| SignatureError::DigestAlgorithm(clip(digest)))?;
        expect_empty(*digest_method, "DigestMethod")?;
        expect(*digest_value, "DigestValue", &[])?;
        Ok(Self {
            signed_info,
            info_prefixes,
            algorithm,
            content_prefixes,
            digest,
            digest_value: read_base64(*digest_value, "DigestValue")?,
            value: read_base64(value, "SignatureValue")?,
        })
    }
}

/// Returns the algorithm of a name, if it is accepted.
pub(crate) fn signature_algorithm(uri: &str) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match uri {
        names::RSA_SHA256 => &RSA_PKCS1_2048_8192_SHA256,
        names::RSA_SHA384 => &RSA_PKCS1_2048_8192_SHA384,
        names::RSA_SHA512 => &RSA_PKCS1_2048_8192_SHA512,
        names::ECDSA_SHA256 => &ECDSA_P256_SHA256_FIXED,
        names::ECDSA_SHA384 => &ECDSA_P384_SHA384_FIXED,
        names::ECDSA_SHA512 => &ECDSA_P521_SHA512_FIXED,
        _ => return None,
    })
}

fn digest_algorithm(uri: &str) -> Option<&'static digest::Algorithm> {
    Some(match uri {
        names::SHA256 => &digest::SHA256,
        names::SHA384 => &digest::SHA384,
        names::SHA512 => &digest::SHA512,
        _ => return None,
    })
}

fn algorithm_of(element: XmlElement<'_>) -> &str {
    element.attribute("Algorithm").unwrap_or_default()
}

/// Returns the elements inside, all of which are of signatures.
fn children_of<'d>(
    element: XmlElement<'d>,
    name: &'static str,
) -> Result<Vec<XmlElement<'d>>, SignatureError> {
    let children: Vec<_> = element.children().take(64).collect();
    match children.iter().all(|child| child.namespace() == DSIG) {
        true => Ok(children),
        false => Err(SignatureError::Form(name)),
    }
}

/// Checks the name of an element, and that it has no attributes but these.
fn expect(
    element: XmlElement<'_>,
    name: &'static str,
    attributes: &[&str],
) -> Result<(), SignatureError> {
    if !element.is(DSIG, name) {
        return Err(SignatureError::Form(name));
    }
    check_attributes(element, name, attributes)
}

fn check_attributes(
    element: XmlElement<'_>,
    name: &'static str,
    attributes: &[&str],
) -> Result<(), SignatureError> {
    match element.has_only_attributes(attributes) {
        true => Ok(()),
        false => Err(SignatureError::Form(name)),
    }
}

fn expect_empty(element: XmlElement<'_>, name: &'static str) -> Result<(), SignatureError> {
    match element.children().next() {
        Some(_) => Err(SignatureError::Form(name)),
        None => Ok(()),
    }
}

/// Reads how `SignedInfo` is canonicalised: the prefixes to declare.
fn read_canonicalization(method: XmlElement<'_>) -> Result<Vec<String>, SignatureError> {
    expect(method, "CanonicalizationMethod", &["Algorithm"])?;
    let algorithm = algorithm_of(method);
    if algorithm != EXCLUSIVE {
        return Err(SignatureError::Canonicalization(clip(algorithm)));
    }
    read_prefixes(method, "CanonicalizationMethod")
}

/// Reads the two transforms that there must be: the prefixes to declare.
fn read_transforms(transforms: XmlElement<'_>) -> Result<Vec<String>, SignatureError> {
    expect(transforms, "Transforms", &[])?;
    let parts = children_of(transforms, "Transforms")?;
    let [enveloped, exclusive] = parts.as_slice() else {
        return Err(SignatureError::Transforms);
    };
    expect(*enveloped, "Transform", &["Algorithm"])?;
    expect(*exclusive, "Transform", &["Algorithm"])?;
    if algorithm_of(*enveloped) != ENVELOPED || algorithm_of(*exclusive) != EXCLUSIVE {
        return Err(SignatureError::Transforms);
    }
    expect_empty(*enveloped, "Transform")?;
    read_prefixes(*exclusive, "Transform")
}

/// Reads the parameter of exclusive canonicalisation: prefixes whose declarations are signed too.
fn read_prefixes(
    parent: XmlElement<'_>,
    name: &'static str,
) -> Result<Vec<String>, SignatureError> {
    let children: Vec<_> = parent.children().take(2).collect();
    let list = match children.as_slice() {
        [] => return Ok(Vec::new()),
        [list] if list.is(EXCLUSIVE, "InclusiveNamespaces") => *list,
        _ => return Err(SignatureError::Form(name)),
    };
    check_attributes(list, name, &["PrefixList"])?;
    expect_empty(list, name)?;
    let prefixes = list.attribute("PrefixList").unwrap_or_default();
    let prefixes: Vec<String> = prefixes
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    match prefixes.len() <= MOST_PREFIXES {
        true => Ok(prefixes),
        false => Err(SignatureError::Form(name)),
    }
}

fn read_base64(element: XmlElement<'_>, name: &'static str) -> Result<Vec<u8>, SignatureError> {
    let text = element.text()?;
    let letters: String = text.split_ascii_whitespace().collect();
    STANDARD
        .decode(letters)
        .map_err(|_| SignatureError::Base64(name))
}
