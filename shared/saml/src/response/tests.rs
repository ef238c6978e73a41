//! Good answers are accepted; everything else is refused for its own reason.

mod expectations;
mod forms;
mod limits;
mod provider;
mod recorded;
mod wrapping;

use super::*;
use provider::{
    ACS, ENTITY, NOW, PROVIDER, Part, REQUEST, accept, expectation, refuse, sign, signed, time,
    unsigned,
};

#[test]
fn a_good_answer_says_who_it_is() {
    let assertion = accept(&signed());
    assert_eq!(assertion.id, "_assertion");
    let name = assertion.name_id.unwrap();
    assert_eq!(name.value, "ada-7d1f");
    assert_eq!(name.format.as_deref(), Some(crate::NAME_ID_PERSISTENT));
    assert_eq!(assertion.session_index.as_deref(), Some("session-1"));
    assert_eq!(assertion.attributes["groups"], ["engineers", "on & call"]);
    assert_eq!(assertion.attributes["mail"], ["ada@example.com"]);
    assert_eq!(
        assertion.authn_context.as_deref(),
        Some("urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport")
    );
    assert_eq!(assertion.authn_instant, time("2026-11-27T11:59:00Z"));
    assert_eq!(assertion.session_end, Some(time("2026-11-27T20:00:00Z")));
    // The earlier of the two ends, and the skew of clocks.
    assert_eq!(assertion.replay_until, time("2026-11-27T12:06:00Z"));
}

#[test]
fn the_form_field_is_base64_with_line_ends() {
    let field = STANDARD.encode(signed());
    let lines: Vec<&str> = field
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    for field in [field.clone(), lines.join("\r\n")] {
        assert_eq!(
            verify_response(&field, &expectation(&provider::metadata()))
                .unwrap()
                .id,
            "_assertion"
        );
    }
    assert_eq!(
        verify_response("<Response>", &expectation(&provider::metadata())),
        Err(SamlError::Base64)
    );
}

#[test]
fn an_answer_says_whom_it_is_for_before_it_is_verified() {
    let limits = XmlLimits::default();
    let claimed = |text: &str| claimed_audiences(&STANDARD.encode(text), &limits);
    assert_eq!(claimed(&unsigned()), Ok(vec![ENTITY.to_owned()]));
    assert_eq!(claimed("<a/>"), Ok(Vec::new()));
    assert_eq!(
        claimed_audiences("<Response>", &limits),
        Err(SamlError::Base64)
    );
    let doctype = claimed("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>");
    assert!(matches!(doctype, Err(SamlError::Markup(_))), "{doctype:?}");
    let long = "A".repeat(limits.bytes * 2);
    let long = claimed_audiences(&long, &limits);
    assert!(matches!(long, Err(SamlError::Markup(_))), "{long:?}");
}

#[test]
fn response_and_assertion_may_both_be_signed() {
    let both = sign(&signed(), &Part::response());
    assert_eq!(accept(&both).id, "_assertion");
    // Then both must hold.
    let changed = both.replace(
        "IssueInstant=\"2026-11-27T12:00:01Z\"",
        "IssueInstant=\"2026-11-27T12:00:02Z\"",
    );
    assert_ne!(changed, both);
    assert_eq!(
        refuse(&changed),
        SamlError::Signature {
            of: "response",
            error: crate::SignatureError::Digest
        }
    );
}

#[test]
fn a_key_is_one_of_several() {
    let mut metadata = provider::metadata();
    metadata
        .certificates
        .insert(0, provider::other_key().certificate().clone());
    let verified = verify_response_xml(signed().as_bytes(), &expectation(&metadata));
    assert_eq!(verified.unwrap().id, "_assertion");
}

#[test]
fn metadata_that_has_ended_lets_nobody_in() {
    let mut metadata = provider::metadata();
    metadata.valid_until = Some(time("2026-11-27T12:00:30Z"));
    assert_eq!(
        verify_response_xml(signed().as_bytes(), &expectation(&metadata)),
        Err(SamlError::MetadataEnded(time("2026-11-27T12:00:30Z")))
    );
    metadata.valid_until = Some(time("2026-11-27T12:00:31Z"));
    assert!(verify_response_xml(signed().as_bytes(), &expectation(&metadata)).is_ok());
}

#[test]
fn rsa_and_longer_digests_are_accepted() {
    let mut metadata = provider::metadata();
    metadata.certificates = vec![provider::rsa_key().certificate().clone()];
    let part = Part {
        key: provider::rsa_key(),
        digest_method: crate::names::SHA512.to_owned(),
        ..Part::assertion()
    };
    let text = sign(&unsigned(), &part);
    let verified = verify_response_xml(text.as_bytes(), &expectation(&metadata));
    assert_eq!(verified.unwrap().id, "_assertion");
}

#[test]
fn prefixes_may_be_declared_inclusively() {
    let part = Part {
        prefixes: "xs #default",
        ..Part::assertion()
    };
    assert_eq!(accept(&sign(&unsigned(), &part)).id, "_assertion");
}

#[test]
fn constants_of_the_tests_fit_together() {
    let text = unsigned();
    for word in [ACS, ENTITY, PROVIDER, REQUEST] {
        assert!(text.contains(word), "{word}");
    }
    assert_eq!(time(NOW), time("2026-11-27T12:00:30Z"));
}
