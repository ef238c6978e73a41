//! Requests as a provider reads them.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256};
use chrono::NaiveDate;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::*;
use crate::{
    NAME_ID_PERSISTENT, SigningKeyKind,
    markup::{Comments, XmlLimits},
    names::DSIG,
    signature::verify_enveloped,
    xml::{self, XmlElement},
};

fn make_key(kind: SigningKeyKind) -> SigningKey {
    let today = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    SigningKey::generate(kind, "sp.example.com", today, 365).unwrap()
}

fn contexts() -> [String; 2] {
    ["urn:mfa", "urn:a&b"].map(str::to_owned)
}

fn request<'a>(destination: &'a str, contexts: &'a [String]) -> AuthnRequest<'a> {
    AuthnRequest {
        id: "_00112233445566778899aabbccddeeff",
        issued: "2026-11-27T12:00:00.9Z".parse().unwrap(),
        destination,
        entity_id: "https://sp.example.com/saml?tailnet=<1>",
        acs_url: "https://sp.example.com/saml/acs",
        name_id_format: Some(NAME_ID_PERSISTENT),
        authn_contexts: contexts,
        force_authn: true,
    }
}

#[track_caller]
fn check_request(text: &str, destination: &str) {
    let document = xml::parse(text, &XmlLimits::default(), Comments::Refused).unwrap();
    let root = XmlElement::root(&document).unwrap();
    assert!(root.is(PROTOCOL, "AuthnRequest"));
    for (name, value) in [
        ("ID", "_00112233445566778899aabbccddeeff"),
        ("Version", "2.0"),
        ("IssueInstant", "2026-11-27T12:00:00Z"),
        ("Destination", destination),
        (
            "AssertionConsumerServiceURL",
            "https://sp.example.com/saml/acs",
        ),
        ("ProtocolBinding", MessageBinding::HttpPost.uri()),
        ("ForceAuthn", "true"),
    ] {
        assert_eq!(root.attribute(name), Some(value), "{name}");
    }
    let issuer = root.one_child(ASSERTION, "Issuer").unwrap().unwrap();
    assert_eq!(
        issuer.text().unwrap(),
        "https://sp.example.com/saml?tailnet=<1>"
    );
    let policy = root.one_child(PROTOCOL, "NameIDPolicy").unwrap().unwrap();
    assert_eq!(policy.attribute("Format"), Some(NAME_ID_PERSISTENT));
    assert_eq!(policy.attribute("AllowCreate"), Some("true"));
    let asked = root.one_child(PROTOCOL, "RequestedAuthnContext");
    let asked = asked.unwrap().unwrap();
    assert_eq!(asked.attribute("Comparison"), Some("exact"));
    let asked: Vec<_> = asked.children().map(|one| one.text().unwrap()).collect();
    assert_eq!(asked, contexts());
}

#[test]
fn redirects_carry_a_signed_query() {
    for (kind, algorithm) in [
        (
            SigningKeyKind::P256,
            &ECDSA_P256_SHA256_FIXED as &'static dyn aws_lc_rs::signature::VerificationAlgorithm,
        ),
        (SigningKeyKind::Rsa, &RSA_PKCS1_2048_8192_SHA256),
    ] {
        let key = make_key(kind);
        for (destination, before) in [
            ("https://idp.example.com/sso", ""),
            (
                "https://idp.example.com/sso?tenant=1&x=%20y#part",
                "tenant=1&x=%20y&",
            ),
        ] {
            let contexts = contexts();
            let url = request(destination, &contexts)
                .to_redirect_url("relay/+=&state", &key)
                .unwrap();
            let query = url.strip_prefix("https://idp.example.com/sso?").unwrap();
            let query = query.strip_prefix(before).unwrap();
            let (signed, signature) = query.split_once("&Signature=").unwrap();
            let names: Vec<_> = signed
                .split('&')
                .map(|pair| pair.split_once('=').unwrap().0)
                .collect();
            assert_eq!(names, ["SAMLRequest", "RelayState", "SigAlg"]);
            let decode = |text: &str| {
                let pair = format!("a={text}");
                let (_, value) = form_urlencoded::parse(pair.as_bytes()).next().unwrap();
                value.into_owned()
            };
            let signature = STANDARD.decode(decode(signature)).unwrap();
            assert!(
                key.certificate()
                    .has_signed(algorithm, signed.as_bytes(), &signature)
            );
            let mut pairs = form_urlencoded::parse(signed.as_bytes());
            let message = STANDARD.decode(&*pairs.next().unwrap().1).unwrap();
            let message = decompress_to_vec_with_limit(&message, 10_000).unwrap();
            check_request(std::str::from_utf8(&message).unwrap(), destination);
            assert_eq!(pairs.next().unwrap().1, "relay/+=&state");
            assert_eq!(pairs.next().unwrap().1, key.algorithm());
        }
    }
}

#[test]
fn forms_carry_a_signed_request() {
    for kind in [SigningKeyKind::P256, SigningKeyKind::Rsa] {
        let key = make_key(kind);
        let contexts = contexts();
        let destination = "https://idp.example.com/sso?a=1&b=2";
        let form = request(destination, &contexts)
            .to_post_form("state", &key)
            .unwrap();
        assert_eq!(form.action, destination);
        assert_eq!(form.fields[1], ("RelayState", "state".to_owned()));
        let text = String::from_utf8(STANDARD.decode(&form.fields[0].1).unwrap()).unwrap();
        check_request(&text, destination);
        let document = xml::parse(&text, &XmlLimits::default(), Comments::Refused).unwrap();
        let root = XmlElement::root(&document).unwrap();
        let certificates = [key.certificate().clone()];
        assert!(verify_enveloped(root, &certificates).unwrap().is_some());
        // Behind the issuer, as the schema has it.
        assert!(root.children().nth(1).unwrap().is(DSIG, "Signature"));
    }
}

#[test]
fn what_is_not_asked_for_is_left_out() {
    let key = make_key(SigningKeyKind::P256);
    let request = AuthnRequest {
        name_id_format: None,
        force_authn: false,
        ..request("https://idp.example.com/sso", &[])
    };
    let form = request.to_post_form("", &key).unwrap();
    assert_eq!(form.fields.len(), 1);
    let text = String::from_utf8(STANDARD.decode(&form.fields[0].1).unwrap()).unwrap();
    for word in ["ForceAuthn", "RequestedAuthnContext", "Format="] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(
        !request
            .to_redirect_url("", &key)
            .unwrap()
            .contains("RelayState")
    );
}

#[test]
fn what_can_not_be_sent_is_refused() {
    let key = make_key(SigningKeyKind::P256);
    let request = request("no address", &[]);
    assert!(matches!(
        request.to_redirect_url("", &key),
        Err(AuthnRequestError::Destination(_))
    ));
    let long = "a".repeat(81);
    assert!(matches!(
        request.to_redirect_url(&long, &key),
        Err(AuthnRequestError::RelayState(81))
    ));
    assert!(matches!(
        request.to_post_form(&long, &key),
        Err(AuthnRequestError::RelayState(81))
    ));
}

#[test]
fn ids_begin_with_no_digit() {
    assert_eq!(request_id([0x11; 16]), "_11111111111111111111111111111111");
}
