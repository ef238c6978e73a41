//! Metadata of providers.

use chrono::NaiveDate;

use super::*;
use crate::{
    SigningKey, SigningKeyKind,
    signing::{fill_signature, signature_template},
};

fn key() -> SigningKey {
    let today = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    SigningKey::generate(SigningKeyKind::P256, "idp.example.com", today, 365).unwrap()
}

fn describe(certificates: &[(&str, &str)]) -> String {
    let keys: String = certificates
        .iter()
        .map(|(usage, certificate)| {
            format!("<md:KeyDescriptor{usage}><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>")
        })
        .collect();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- People write comments. -->
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="https://idp.example.com/saml" validUntil="2026-12-24T00:00:00Z" cacheDuration="PT6H">
<md:IDPSSODescriptor WantAuthnRequestsSigned="true" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">{keys}
<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/slo"/>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:SOAP" Location="https://idp.example.com/soap"/>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/sso?tenant=1"/>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="http://idp.example.com/post"/>
</md:IDPSSODescriptor></md:EntityDescriptor>"#
    )
}

fn parse(text: &str) -> Result<ProviderMetadata, MetadataError> {
    ProviderMetadata::parse(text.as_bytes(), &[], &XmlLimits::default())
}

fn good() -> String {
    describe(&[(" use=\"signing\"", &key().certificate().to_base64())])
}

#[track_caller]
fn refuse_changed(from: &str, to: &str) -> MetadataError {
    let good = good();
    assert!(good.contains(from), "{from}");
    parse(&good.replace(from, to)).unwrap_err()
}

#[test]
fn everything_is_read() {
    let (first, second, third) = (key(), key(), key());
    let lines = first
        .certificate()
        .to_base64()
        .as_bytes()
        .chunks(64)
        .fold(String::from("\n"), |lines, line| {
            lines + std::str::from_utf8(line).unwrap() + "\n      "
        });
    let text = describe(&[
        (" use=\"signing\"", &lines),
        ("", &second.certificate().to_base64()),
        (" use=\"encryption\"", &third.certificate().to_base64()),
        (" use=\"signing\"", &first.certificate().to_base64()),
    ]);
    let metadata = parse(&text).unwrap();
    assert_eq!(metadata.entity_id, "https://idp.example.com/saml");
    assert_eq!(
        metadata.certificates,
        [first.certificate().clone(), second.certificate().clone()]
    );
    assert_eq!(
        metadata.sign_on_url(MessageBinding::HttpRedirect),
        Some("https://idp.example.com/sso?tenant=1")
    );
    assert_eq!(
        metadata.sign_on_url(MessageBinding::HttpPost),
        Some("http://idp.example.com/post")
    );
    assert_eq!(metadata.single_logout.len(), 1);
    assert_eq!(metadata.cache_duration, TimeDelta::try_hours(6));
    assert!(metadata.wants_signed_requests);
    let end = "2026-12-24T00:00:00Z".parse().unwrap();
    assert_eq!(metadata.valid_until, Some(end));
    assert_eq!(metadata.ended_at(end), Some(end));
    assert_eq!(metadata.ended_at(end - TimeDelta::seconds(1)), None);
}

#[test]
fn facts_for_an_administrator() {
    let metadata = parse(&good()).unwrap();
    let warnings = |soon: &str| metadata.warnings(soon.parse().unwrap());
    let plain = MetadataWarning::NotEncrypted("http://idp.example.com/post".to_owned());
    assert_eq!(
        warnings("2026-12-01T00:00:00Z"),
        std::slice::from_ref(&plain)
    );
    let fingerprint = metadata.certificates[0].fingerprint();
    let at = "2027-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        warnings("2027-01-30T00:00:00Z"),
        [
            MetadataWarning::CertificateEnds { fingerprint, at },
            MetadataWarning::MetadataEnds("2026-12-24T00:00:00Z".parse().unwrap()),
            plain
        ]
    );
}

/// A certificate with an RSA key of 1024 bits, by `openssl req -x509 -newkey rsa:1024`.
const WEAK: &str = include_str!("tests/rsa-1024.pem");

#[test]
fn weak_keys_are_told_and_not_enough() {
    let weak = SigningCertificate::from_text(WEAK).unwrap();
    assert_eq!(weak.key_kind(), PublicKeyKind::Rsa(1024));
    let text = describe(&[("", &weak.to_base64())]);
    assert_eq!(parse(&text), Err(MetadataError::NoKey));
    let text = describe(&[
        ("", &weak.to_base64()),
        ("", &key().certificate().to_base64()),
    ]);
    let warnings = parse(&text).unwrap().warnings(DateTime::UNIX_EPOCH);
    assert_eq!(
        warnings[0].to_string(),
        format!(
            "signatures with the provider's certificate {} are not accepted: its key is RSA with 1024 bits",
            weak.fingerprint()
        )
    );
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(refuse_changed("entityID=", "id="), MetadataError::EntityId);
    assert_eq!(
        refuse_changed("IDPSSODescriptor", "SPSSODescriptor"),
        MetadataError::NotIdentityProvider("https://idp.example.com/saml".to_owned())
    );
    assert_eq!(
        refuse_changed("SAML:2.0:protocol", "SAML:1.1:protocol"),
        MetadataError::NotIdentityProvider("https://idp.example.com/saml".to_owned())
    );
    assert_eq!(
        refuse_changed("SingleSignOnService", "Other"),
        MetadataError::NoSignOn
    );
    assert_eq!(
        refuse_changed("use=\"signing\"", "use=\"encryption\""),
        MetadataError::NoKey
    );
    assert_eq!(
        refuse_changed("http://idp", "javascript:idp"),
        MetadataError::Url("javascript:idp.example.com/post".to_owned())
    );
    assert_eq!(
        refuse_changed("PT6H", "6 hours"),
        MetadataError::Time {
            name: "cacheDuration",
            value: "6 hours".to_owned()
        }
    );
    assert!(matches!(
        refuse_changed("2026-12-24T", "24.12.2026 "),
        MetadataError::Time {
            name: "validUntil",
            ..
        }
    ));
    assert_eq!(
        refuse_changed("X509Certificate>", "X509Certificate>?"),
        MetadataError::Certificate(CertificateError::Encoding)
    );
    assert_eq!(
        parse(&describe(&[("", "AAAA")])),
        Err(MetadataError::Certificate(CertificateError::NotX509))
    );
    assert_eq!(
        parse("<html/>"),
        Err(MetadataError::NotProvider("html".to_owned()))
    );
    assert_eq!(
        parse("<EntitiesDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\"/>"),
        Err(MetadataError::Several)
    );
    let keys: Vec<_> = (0..17).map(|_| key().certificate().to_base64()).collect();
    let keys: Vec<_> = keys.iter().map(|one| ("", one.as_str())).collect();
    assert_eq!(parse(&describe(&keys)), Err(MetadataError::TooMany));
}

#[test]
fn markup_is_bounded() {
    let markup = |text: &str| match parse(text) {
        Err(MetadataError::Markup(error)) => error,
        other => panic!("{other:?}"),
    };
    let text = good().replace("<!-- ", "<!DOCTYPE a><!-- ");
    assert_eq!(markup(&text), MarkupError::Doctype);
    let text = good().replace("<!-- ", "<?php x ?><!-- ");
    assert_eq!(markup(&text), MarkupError::ProcessingInstruction);
    let text = good().replace("X509Certificate>", "X509Certificate><!-- a -->");
    assert_eq!(markup(&text), MarkupError::Comment);
    assert_eq!(markup(&" ".repeat(300_000)), MarkupError::TooLong(262_144));
    assert_eq!(markup(&"<a>".repeat(40)), MarkupError::TooDeep(32));
}

#[test]
fn a_pinned_key_must_have_signed_it() {
    let (signer, other) = (key(), key());
    let (signer_certificate, other_certificate) = (signer.certificate(), other.certificate());
    let parse = |text: &str, pinned: &SigningCertificate| {
        ProviderMetadata::parse(
            text.as_bytes(),
            std::slice::from_ref(pinned),
            &XmlLimits::default(),
        )
    };
    let text = good();
    assert_eq!(
        parse(&text, signer_certificate),
        Err(MetadataError::NotSigned)
    );
    let role = "<md:IDPSSODescriptor";
    let template = signature_template("_metadata", &signer);
    let text = text.replace("<!-- People write comments. -->", "");
    let text = text.replace("entityID=", "ID=\"_metadata\" entityID=");
    let text = text.replace(role, &format!("{template}{role}"));
    let text = fill_signature(&text, &signer).unwrap();
    assert_eq!(
        parse(&text, signer_certificate).unwrap().entity_id,
        "https://idp.example.com/saml"
    );
    assert_eq!(
        parse(&text, other_certificate),
        Err(MetadataError::Signature(SignatureError::Key))
    );
    let forged = text.replace("tenant=1", "tenant=2");
    assert_eq!(
        parse(&forged, signer_certificate),
        Err(MetadataError::Signature(SignatureError::Digest))
    );
}
