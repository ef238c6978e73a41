//! Messages that another implementation made: `pysaml2/README.md` says how.

use super::*;
use crate::SignatureError;

fn recorded() -> ProviderMetadata {
    let metadata = include_bytes!("pysaml2/metadata.xml");
    ProviderMetadata::parse(metadata, &[], &XmlLimits::default()).unwrap()
}

fn verify(text: &str) -> Result<VerifiedAssertion, SamlError> {
    let metadata = recorded();
    let expectation = Expectation {
        now: time("2026-11-27T04:18:30Z"),
        ..expectation(&metadata)
    };
    verify_response_xml(text.as_bytes(), &expectation)
}

#[test]
fn metadata_is_read() {
    let metadata = recorded();
    assert_eq!(metadata.entity_id, PROVIDER);
    assert_eq!(
        metadata.sign_on_url(crate::MessageBinding::HttpPost),
        Some("https://idp.example.com/post")
    );
    assert_eq!(metadata.certificates.len(), 1);
    assert_eq!(metadata.certificates[0].subject(), "CN=idp.example.com");
}

#[test]
fn signed_assertions_are_accepted() {
    for text in [
        include_str!("pysaml2/assertion.xml"),
        include_str!("pysaml2/both.xml"),
    ] {
        let assertion = verify(text).unwrap();
        let name = assertion.name_id.unwrap();
        assert_eq!(name.value, "ada-7d1f");
        assert_eq!(name.format.as_deref(), Some(crate::NAME_ID_PERSISTENT));
        let attribute = |oid: &str| assertion.attributes[oid].clone();
        assert_eq!(
            attribute("urn:oid:0.9.2342.19200300.100.1.3"),
            ["ada@example.com"]
        );
        assert_eq!(
            attribute("urn:oid:1.3.6.1.4.1.5923.1.1.1.1"),
            ["staff", "member & friend"]
        );
        assert_eq!(attribute("urn:oid:2.16.840.1.113730.3.1.241"), ["Ada Ł"]);
        // The same message with another name in it.
        let forged = text.replace("ada-7d1f", "eve-0001");
        assert!(matches!(
            verify(&forged),
            Err(SamlError::Signature {
                error: SignatureError::Digest,
                ..
            })
        ));
    }
}

#[test]
fn other_signatures_are_refused() {
    let response = include_str!("pysaml2/response.xml");
    assert_eq!(verify(response), Err(SamlError::OnlyResponseSigned));
    let metadata = recorded();
    let expectation = Expectation {
        now: time("2026-11-27T04:18:30Z"),
        accepts_signed_response: true,
        ..expectation(&metadata)
    };
    let verified = verify_response_xml(response.as_bytes(), &expectation).unwrap();
    assert_eq!(verified.name_id.unwrap().value, "ada-7d1f");
    assert_eq!(
        verify(include_str!("pysaml2/sha1.xml")),
        Err(SamlError::Signature {
            of: "assertion",
            error: SignatureError::Algorithm(
                "http://www.w3.org/2000/09/xmldsig#rsa-sha1".to_owned()
            )
        })
    );
}

#[test]
fn failures_are_told() {
    assert_eq!(
        verify(include_str!("pysaml2/failure.xml")),
        Err(SamlError::Status {
            code: "Responder".to_owned(),
            second: Some("UnknownPrincipal".to_owned()),
            message: Some("nobody is called that".to_owned())
        })
    );
}
