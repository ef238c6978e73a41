//! A provider that signs whatever a test wants it to sign.

use std::sync::OnceLock;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use bergshamra_c14n::{C14nMode, canonicalize_doc};
use bergshamra_xml::NodeSet;
use chrono::{DateTime, NaiveDate, Utc};
use uppsala::{Document, NodeId};

use crate::{
    Endpoint, Expectation, ExpectedRequest, MessageBinding, ProviderMetadata, SamlError,
    SigningKey, SigningKeyKind, VerifiedAssertion, XmlLimits,
    names::{DSIG, ENVELOPED, EXCLUSIVE, SHA256, SHA384, SHA512},
    verify_response_xml,
};

pub(super) const PROVIDER: &str = "https://idp.example.com/saml";
pub(super) const ENTITY: &str = "https://sp.example.com/saml/metadata";
pub(super) const ACS: &str = "https://sp.example.com/saml/acs";
pub(super) const REQUEST: &str = "_request-1";
pub(super) const NOW: &str = "2026-11-27T12:00:30Z";

fn make_key(kind: SigningKeyKind) -> SigningKey {
    let today = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    SigningKey::generate(kind, "idp.example.com", today, 365).unwrap()
}

pub(super) fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| make_key(SigningKeyKind::P256))
}

/// Another provider's key.
pub(super) fn other_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| make_key(SigningKeyKind::P256))
}

pub(super) fn rsa_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| make_key(SigningKeyKind::Rsa))
}

pub(super) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(super) fn metadata() -> ProviderMetadata {
    ProviderMetadata {
        entity_id: PROVIDER.to_owned(),
        single_sign_on: vec![Endpoint {
            binding: MessageBinding::HttpRedirect,
            location: "https://idp.example.com/sso".to_owned(),
        }],
        single_logout: Vec::new(),
        certificates: vec![key().certificate().clone()],
        valid_until: None,
        cache_duration: None,
        wants_signed_requests: false,
    }
}

pub(super) fn expectation(provider: &ProviderMetadata) -> Expectation<'_> {
    Expectation {
        provider,
        entity_id: ENTITY,
        acs_url: ACS,
        request: ExpectedRequest::Id(REQUEST),
        accepts_signed_response: false,
        authn_contexts: &[],
        authenticated_after: None,
        limits: XmlLimits::default(),
        now: time(NOW),
    }
}

/// Verifies an answer that must be accepted.
#[track_caller]
pub(super) fn accept(text: &str) -> VerifiedAssertion {
    verify_response_xml(text.as_bytes(), &expectation(&metadata())).unwrap()
}

/// Verifies an answer that must be refused.
#[track_caller]
pub(super) fn refuse(text: &str) -> SamlError {
    verify_response_xml(text.as_bytes(), &expectation(&metadata())).unwrap_err()
}

/// An answer before it is signed.
pub(super) fn unsigned() -> String {
    format!(
        r#"<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_response" Version="2.0" IssueInstant="2026-11-27T12:00:01Z" Destination="{ACS}" InResponseTo="{REQUEST}"><saml:Issuer>{PROVIDER}</saml:Issuer>
<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>
{}
</samlp:Response>"#,
        assertion()
    )
}

/// The assertion in it.
pub(super) fn assertion() -> String {
    format!(
        r#"<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ID="_assertion" Version="2.0" IssueInstant="2026-11-27T12:00:00Z"><saml:Issuer Format="urn:oasis:names:tc:SAML:2.0:nameid-format:entity">{PROVIDER}</saml:Issuer>
  <saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">ada-7d1f</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="2026-11-27T12:05:00Z" Recipient="{ACS}" InResponseTo="{REQUEST}"/></saml:SubjectConfirmation></saml:Subject>
  <saml:Conditions NotBefore="2026-11-27T11:59:30Z" NotOnOrAfter="2026-11-27T12:10:00Z"><saml:AudienceRestriction><saml:Audience>{ENTITY}</saml:Audience></saml:AudienceRestriction></saml:Conditions>
  <saml:AuthnStatement AuthnInstant="2026-11-27T11:59:00Z" SessionIndex="session-1" SessionNotOnOrAfter="2026-11-27T20:00:00Z"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
  <saml:AttributeStatement><saml:Attribute Name="groups"><saml:AttributeValue xsi:type="xs:string">engineers</saml:AttributeValue><saml:AttributeValue xsi:type="xs:string">on &amp; call</saml:AttributeValue></saml:Attribute><saml:Attribute Name="mail"><saml:AttributeValue>ada@example.com</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>
</saml:Assertion>"#
    )
}

/// An answer whose assertion is signed.
pub(super) fn signed() -> String {
    sign(&unsigned(), &Part::assertion())
}

/// An answer that was changed before it was signed.
#[track_caller]
pub(super) fn signed_with(from: &str, to: &str) -> String {
    sign(&changed(&unsigned(), from, to), &Part::assertion())
}

/// Replaces a part that must be there.
#[track_caller]
pub(super) fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replace(from, to)
}

/// Cuts out a part of a text, from the beginning of one word to the end of another.
#[track_caller]
pub(super) fn cut(text: &str, from: &str, to: &str) -> (String, String) {
    let begin = text.find(from).expect(from);
    let end = begin + text[begin..].find(to).expect(to) + to.len();
    let part = text[begin..end].to_owned();
    (part, format!("{}{}", &text[..begin], &text[end..]))
}

/// How a part is signed. Each member is as the profile has it unless a test changes it.
#[derive(Clone)]
pub(super) struct Part {
    /// The id of the element that is digested and gets the signature, behind its issuer.
    pub(super) id: &'static str,
    pub(super) key: &'static SigningKey,
    pub(super) uri: String,
    pub(super) canonicalization: String,
    /// The key's own, unless a test says otherwise.
    pub(super) method: Option<String>,
    /// What stands inside of the method.
    pub(super) method_content: &'static str,
    pub(super) digest_method: String,
    pub(super) transforms: String,
    pub(super) prefixes: &'static str,
    /// How the element is canonicalised.
    pub(super) mode: C14nMode,
    /// More references.
    pub(super) references: String,
    /// What stands behind the value of the signature.
    pub(super) tail: String,
}

impl Part {
    pub(super) fn assertion() -> Self {
        Self {
            id: "_assertion",
            key: key(),
            uri: "#_assertion".to_owned(),
            canonicalization: EXCLUSIVE.to_owned(),
            method: None,
            method_content: "",
            digest_method: SHA256.to_owned(),
            transforms: format!(
                r#"<ds:Transform Algorithm="{ENVELOPED}"/><ds:Transform Algorithm="{EXCLUSIVE}">PREFIXES</ds:Transform>"#
            ),
            prefixes: "",
            mode: C14nMode::Exclusive,
            references: String::new(),
            tail: String::new(),
        }
    }

    pub(super) fn response() -> Self {
        Self {
            id: "_response",
            uri: "#_response".to_owned(),
            ..Self::assertion()
        }
    }

    fn template(&self) -> String {
        let prefixes = match self.prefixes {
            "" => String::new(),
            list => {
                format!(r#"<ec:InclusiveNamespaces xmlns:ec="{EXCLUSIVE}" PrefixList="{list}"/>"#)
            }
        };
        let transforms = self.transforms.replace("PREFIXES", &prefixes);
        let method = self.method.as_deref().unwrap_or(self.key.algorithm());
        format!(
            r#"<ds:Signature xmlns:ds="{DSIG}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{}"/><ds:SignatureMethod Algorithm="{method}">{}</ds:SignatureMethod><ds:Reference URI="{}"><ds:Transforms>{transforms}</ds:Transforms><ds:DigestMethod Algorithm="{}"/><ds:DigestValue>DIGEST</ds:DigestValue></ds:Reference>{}</ds:SignedInfo><ds:SignatureValue>VALUE</ds:SignatureValue>{}</ds:Signature>"#,
            self.canonicalization,
            self.method_content,
            self.uri,
            self.digest_method,
            self.references,
            self.tail
        )
    }
}

/// Signs an element of a document.
pub(super) fn sign(text: &str, part: &Part) -> String {
    let begin = text.find(&format!("ID=\"{}\"", part.id)).unwrap();
    let issuer = "</saml:Issuer>";
    let at = begin + text[begin..].find(issuer).unwrap() + issuer.len();
    let content = canonical(text, part.mode, part.prefixes, |document| {
        find(document, part.id)
    });
    let algorithm = match part.digest_method.as_str() {
        SHA384 => &digest::SHA384,
        SHA512 => &digest::SHA512,
        "http://www.w3.org/2000/09/xmldsig#sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        _ => &digest::SHA256,
    };
    let digest = STANDARD.encode(digest::digest(algorithm, &content));
    let template = part.template().replace("DIGEST", &digest);
    let text = format!("{}{template}{}", &text[..at], &text[at..]);
    let info = canonical(&text, C14nMode::Exclusive, "", |document| {
        let signature = document
            .children(find(document, part.id))
            .into_iter()
            .find(|node| {
                document
                    .element(*node)
                    .is_some_and(|element| element.matches_name_ns(DSIG, "Signature"))
            });
        document.first_child(signature.unwrap()).unwrap()
    });
    let value = STANDARD.encode(part.key.sign(&info).unwrap());
    text.replacen(">VALUE<", &format!(">{value}<"), 1)
}

fn find(document: &Document<'_>, id: &str) -> NodeId {
    let mut nodes = document.descendants(document.root()).into_iter();
    nodes
        .find(|node| document.get_attribute(*node, "ID") == Some(id))
        .unwrap()
}

fn canonical(
    text: &str,
    mode: C14nMode,
    prefixes: &str,
    select: impl Fn(&Document<'_>) -> NodeId,
) -> Vec<u8> {
    let document = uppsala::parse(text).unwrap();
    let nodes = match mode.with_comments() {
        true => NodeSet::tree_with_comments(select(&document), &document),
        false => NodeSet::tree_without_comments(select(&document), &document),
    };
    let prefixes: Vec<&str> = prefixes.split_whitespace().collect();
    canonicalize_doc(&document, mode, Some(&nodes), &prefixes).unwrap()
}
