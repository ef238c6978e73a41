//! Well signed, and not for this login.

use super::*;
use provider::{changed, signed_with};

const PASSWORD: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";

/// Verifies with an expectation that a test changes.
fn verify_with(
    text: &str,
    change: impl FnOnce(&mut Expectation<'_>),
) -> Result<VerifiedAssertion, SamlError> {
    let metadata = provider::metadata();
    let mut expectation = expectation(&metadata);
    change(&mut expectation);
    verify_response_xml(text.as_bytes(), &expectation)
}

fn verify_at(text: &str, now: &str) -> Result<VerifiedAssertion, SamlError> {
    let now = time(now);
    verify_with(text, |expectation| expectation.now = now)
}

#[test]
fn another_message_or_version() {
    let request = "<samlp:LogoutRequest xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\"/>";
    assert_eq!(
        refuse(request),
        SamlError::NotResponse("LogoutRequest".to_owned())
    );
    let response = "<Response xmlns=\"urn:x\"/>";
    assert_eq!(
        refuse(response),
        SamlError::NotResponse("Response".to_owned())
    );
    let text = changed(
        &unsigned(),
        "ID=\"_response\" Version=\"2.0\"",
        "ID=\"_response\" Version=\"1.1\"",
    );
    assert_eq!(refuse(&text), SamlError::Version("1.1".to_owned()));
    let text = signed_with("ID=\"_assertion\" Version=\"2.0\"", "ID=\"_assertion\"");
    assert_eq!(refuse(&text), SamlError::Version(String::new()));
}

#[test]
fn failures_are_the_providers_words() {
    let status = |inside: &str| {
        let text = unsigned();
        let (_, rest) = provider::cut(&text, "<saml:Assertion", "</saml:Assertion>");
        changed(
            &rest,
            "<samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/>",
            inside,
        )
    };
    let text = status(
        "<samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Responder\"><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext\"/></samlp:StatusCode><samlp:StatusMessage>No second factor&#10;is set up</samlp:StatusMessage>",
    );
    let error = refuse(&text);
    assert_eq!(
        error,
        SamlError::Status {
            code: "Responder".to_owned(),
            second: Some("NoAuthnContext".to_owned()),
            message: Some("No second factor is set up".to_owned())
        }
    );
    assert_eq!(
        error.to_string(),
        "the identity provider did not log the person in: Responder (NoAuthnContext): No second factor is set up"
    );
    let text = status("<samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Requester\"/>");
    assert_eq!(
        refuse(&text).to_string(),
        "the identity provider did not log the person in: Requester"
    );
    assert_eq!(refuse(&status("")), SamlError::Missing("StatusCode"));
}

#[test]
fn encrypted_parts_are_refused_in_words() {
    for name in ["EncryptedAssertion", "EncryptedID", "EncryptedAttribute"] {
        let text = changed(
            &unsigned(),
            "<samlp:Status>",
            &format!("<saml:{name}/><samlp:Status>"),
        );
        assert_eq!(refuse(&text), SamlError::Encrypted(name.to_owned()));
    }
    assert!(
        SamlError::Encrypted("EncryptedAssertion".to_owned())
            .to_string()
            .contains("switch encryption of assertions off")
    );
}

#[test]
fn wrong_issuer() {
    let issuer = format!("{PROVIDER}</saml:Issuer>");
    let other = "https://other.example.com</saml:Issuer>";
    let error = SamlError::Issuer {
        found: "https://other.example.com".to_owned(),
        expected: PROVIDER.to_owned(),
    };
    assert_eq!(refuse(&signed_with(&issuer, other)), error);
    // Of the response alone, and of the assertion alone.
    let text = signed().replacen(&issuer, other, 1);
    assert_eq!(refuse(&text), error);
    let text = unsigned();
    let at = text.find("<saml:Assertion").unwrap();
    let text = format!("{}{}", &text[..at], changed(&text[at..], &issuer, other));
    assert_eq!(refuse(&sign(&text, &Part::assertion())), error);
    let format = "nameid-format:entity\"";
    let text = signed_with(format, "nameid-format:transient\"");
    assert!(matches!(refuse(&text), SamlError::Issuer { .. }));
}

#[test]
fn wrong_destination() {
    let destination = format!("Destination=\"{ACS}\"");
    let text = changed(
        &signed(),
        &destination,
        "Destination=\"https://other.example.com\"",
    );
    let error = |found: &str| SamlError::Destination {
        found: found.to_owned(),
        expected: ACS.to_owned(),
    };
    assert_eq!(refuse(&text), error("https://other.example.com"));
    // Without one: fine, unless the response is signed.
    let without = changed(&unsigned(), &destination, "");
    let signed = sign(&without, &Part::assertion());
    assert_eq!(accept(&signed).id, "_assertion");
    assert_eq!(refuse(&sign(&signed, &Part::response())), error(""));
}

#[test]
fn wrong_recipient() {
    let recipient = format!("Recipient=\"{ACS}\"");
    for (to, found) in [
        (
            "Recipient=\"https://other.example.com\"",
            "https://other.example.com",
        ),
        (
            "Recipient=\"https://sp.example.com/saml/acs/\"",
            "https://sp.example.com/saml/acs/",
        ),
        ("", ""),
    ] {
        assert_eq!(
            refuse(&signed_with(&recipient, to)),
            SamlError::Recipient {
                found: found.to_owned(),
                expected: ACS.to_owned()
            }
        );
    }
}

#[test]
fn wrong_audience() {
    let audience = format!("<saml:Audience>{ENTITY}</saml:Audience>");
    let other = "<saml:Audience>https://other.example.com</saml:Audience>";
    let error = SamlError::Audience {
        found: "https://other.example.com".to_owned(),
        expected: ENTITY.to_owned(),
    };
    assert_eq!(refuse(&signed_with(&audience, other)), error);
    assert_eq!(
        accept(&signed_with(&audience, &format!("{other}{audience}"))).id,
        "_assertion"
    );
    // Of two restrictions both must hold.
    let two = format!("{audience}</saml:AudienceRestriction><saml:AudienceRestriction>{other}");
    assert_eq!(refuse(&signed_with(&audience, &two)), error);
    let restriction = format!("<saml:AudienceRestriction>{audience}</saml:AudienceRestriction>");
    assert_eq!(
        refuse(&signed_with(&restriction, "")),
        SamlError::Missing("AudienceRestriction")
    );
    let unknown = format!("{restriction}<saml:Condition/>");
    assert_eq!(
        refuse(&signed_with(&restriction, &unknown)),
        SamlError::Condition("Condition".to_owned())
    );
    let known = format!("{restriction}<saml:OneTimeUse/><saml:ProxyRestriction/>");
    assert_eq!(accept(&signed_with(&restriction, &known)).id, "_assertion");
}

#[test]
fn another_requests_answer() {
    let error = SamlError::OtherRequest("_request-2".to_owned());
    assert_eq!(refuse(&signed_with(REQUEST, "_request-2")), error);
    // The response's word is not signed, and the assertion's is.
    assert_eq!(
        refuse(&changed(&unsigned(), REQUEST, "_request-2")),
        SamlError::Unsigned
    );
    let text = signed().replacen(REQUEST, "_request-2", 1);
    assert_eq!(refuse(&text), error);
    let confirmation = format!("Recipient=\"{ACS}\" InResponseTo=\"{REQUEST}\"");
    let text = signed_with(
        &confirmation,
        &format!("Recipient=\"{ACS}\" InResponseTo=\"_request-2\""),
    );
    assert_eq!(refuse(&text), error);
    let text = signed_with(&confirmation, &format!("Recipient=\"{ACS}\""));
    assert_eq!(refuse(&text), SamlError::Unsolicited);
}

#[test]
fn unsolicited_only_where_it_is_expected() {
    let text = signed_with(&format!(" InResponseTo=\"{REQUEST}\""), "");
    assert_eq!(refuse(&text), SamlError::Unsolicited);
    let unsolicited = |expectation: &mut Expectation<'_>| {
        expectation.request = ExpectedRequest::Unsolicited;
    };
    assert_eq!(verify_with(&text, unsolicited).unwrap().id, "_assertion");
    // An answer to somebody's request is none that the provider began.
    assert_eq!(
        verify_with(&signed(), unsolicited),
        Err(SamlError::OtherRequest(REQUEST.to_owned()))
    );
}

#[test]
fn bearer_confirmation() {
    let method = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
    let text = signed_with(method, "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key");
    assert_eq!(refuse(&text), SamlError::NotBearer);
    let until = "NotOnOrAfter=\"2026-11-27T12:05:00Z\"";
    assert_eq!(
        refuse(&signed_with(until, "")),
        SamlError::Missing("NotOnOrAfter in SubjectConfirmationData")
    );
    let text = signed_with(
        until,
        "NotBefore=\"2026-11-27T12:03:00Z\" NotOnOrAfter=\"2026-11-27T12:05:00Z\"",
    );
    assert!(matches!(
        refuse(&text),
        SamlError::NotYetValid {
            what: "bearer confirmation",
            ..
        }
    ));
    // One of several suffices; a replay must be remembered until the last ends.
    let other = format!(
        "<saml:SubjectConfirmation Method=\"{method}\"><saml:SubjectConfirmationData NotOnOrAfter=\"2026-11-27T12:08:00Z\" Recipient=\"{ACS}\" InResponseTo=\"{REQUEST}\"/></saml:SubjectConfirmation></saml:Subject>"
    );
    let text = signed_with("</saml:Subject>", &other);
    assert_eq!(accept(&text).replay_until, time("2026-11-27T12:09:00Z"));
    let text = changed(
        &unsigned(),
        "Recipient=\"https://sp",
        "Recipient=\"https://other",
    );
    let text = changed(&text, "</saml:Subject>", &other);
    assert_eq!(accept(&sign(&text, &Part::assertion())).id, "_assertion");
}

#[test]
fn expired_and_not_yet_valid() {
    let text = signed();
    // The bearer confirmation ends at 12:05, the conditions begin at 11:59:30; clocks may differ by a minute.
    assert!(verify_at(&text, "2026-11-27T12:05:59Z").is_ok());
    assert_eq!(
        verify_at(&text, "2026-11-27T12:06:00Z"),
        Err(SamlError::Expired {
            what: "bearer confirmation",
            until: time("2026-11-27T12:05:00Z"),
            now: time("2026-11-27T12:06:00Z")
        })
    );
    assert!(verify_at(&text, "2026-11-27T11:59:00Z").is_ok());
    assert_eq!(
        verify_at(&text, "2026-11-27T11:58:59Z"),
        Err(SamlError::NotYetValid {
            what: "assertion",
            from: time("2026-11-27T12:00:00Z"),
            now: time("2026-11-27T11:58:59Z")
        })
    );
    let text = signed_with(
        "NotBefore=\"2026-11-27T11:59:30Z\"",
        "NotBefore=\"2026-11-27T12:01:31Z\"",
    );
    assert!(matches!(
        refuse(&text),
        SamlError::NotYetValid {
            what: "assertion",
            ..
        }
    ));
    let text = signed_with(
        "NotOnOrAfter=\"2026-11-27T12:10:00Z\"",
        "NotOnOrAfter=\"2026-11-27T11:59:30Z\"",
    );
    assert!(matches!(
        refuse(&text),
        SamlError::Expired {
            what: "assertion",
            ..
        }
    ));
}

#[test]
fn assertions_do_not_live_long() {
    // A provider that lets them live for years does not make the memory of replays grow for years.
    let text = changed(
        &unsigned(),
        "NotOnOrAfter=\"2026-11-27T12:05:00Z\"",
        "NotOnOrAfter=\"2036-11-27T12:05:00Z\"",
    );
    let text = changed(
        &text,
        "NotOnOrAfter=\"2026-11-27T12:10:00Z\"",
        "NotOnOrAfter=\"2036-11-27T12:05:00Z\"",
    );
    let text = sign(&text, &Part::assertion());
    assert_eq!(accept(&text).replay_until, time("2026-11-27T13:01:00Z"));
    assert!(verify_at(&text, "2026-11-27T13:00:59Z").is_ok());
    assert!(matches!(
        verify_at(&text, "2026-11-27T13:01:00Z"),
        Err(SamlError::Expired {
            what: "assertion",
            ..
        })
    ));
}

#[test]
fn an_assertion_is_never_accepted_after_replays_are_forgotten() {
    let text = signed();
    let until = accept(&text).replay_until;
    assert!(verify_with(&text, |expectation| expectation.now = until).is_err());
}

#[test]
fn sessions_that_are_over() {
    let end = "SessionNotOnOrAfter=\"2026-11-27T20:00:00Z\"";
    let text = signed_with(end, "SessionNotOnOrAfter=\"2026-11-27T11:59:30Z\"");
    assert!(matches!(
        refuse(&text),
        SamlError::Expired {
            what: "session at the provider",
            ..
        }
    ));
    assert_eq!(accept(&signed_with(end, "")).session_end, None);
}

#[test]
fn ways_of_authentication() {
    let factors = ["https://refeds.org/profile/mfa".to_owned()];
    let error = SamlError::AuthnContext {
        found: PASSWORD.to_owned(),
        expected: factors[0].clone(),
    };
    let expect = |classes: &[String]| {
        let metadata = provider::metadata();
        let expectation = Expectation {
            authn_contexts: classes,
            ..expectation(&metadata)
        };
        verify_response_xml(signed().as_bytes(), &expectation)
    };
    assert_eq!(expect(&factors), Err(error));
    assert!(expect(&[factors[0].clone(), PASSWORD.to_owned()]).is_ok());
    let class = format!("<saml:AuthnContextClassRef>{PASSWORD}</saml:AuthnContextClassRef>");
    assert_eq!(accept(&signed_with(&class, "")).authn_context, None);
}

#[test]
fn new_authentication() {
    let after = |at: &str| {
        let at = Some(time(at));
        verify_with(&signed(), |expectation| {
            expectation.authenticated_after = at
        })
    };
    assert!(after("2026-11-27T12:00:00Z").is_ok());
    assert_eq!(
        after("2026-11-27T12:00:01Z"),
        Err(SamlError::AuthnTooOld {
            found: time("2026-11-27T11:59:00Z"),
            expected: time("2026-11-27T12:00:01Z")
        })
    );
    let text = signed_with(
        "AuthnInstant=\"2026-11-27T11:59:00Z\"",
        "AuthnInstant=\"2026-11-27T12:02:00Z\"",
    );
    assert!(matches!(
        refuse(&text),
        SamlError::NotYetValid {
            what: "authentication",
            ..
        }
    ));
}

#[test]
fn parts_that_are_missing_or_there_twice() {
    let (statement, _) = provider::cut(
        &unsigned(),
        "<saml:AuthnStatement",
        "</saml:AuthnStatement>",
    );
    assert_eq!(
        refuse(&signed_with(&statement, "")),
        SamlError::AuthnStatements(0)
    );
    let twice = format!("{statement}{statement}");
    assert_eq!(
        refuse(&signed_with(&statement, &twice)),
        SamlError::AuthnStatements(2)
    );
    for (name, from, to) in [
        ("Conditions", "<saml:Conditions", "</saml:Conditions>"),
        ("Subject", "<saml:Subject>", "</saml:Subject>"),
    ] {
        let (part, _) = provider::cut(&unsigned(), from, to);
        assert_eq!(refuse(&signed_with(&part, "")), SamlError::Missing(name));
        let error = SamlError::Markup(MarkupError::Repeated(name));
        assert_eq!(refuse(&signed_with(&part, &format!("{part}{part}"))), error);
    }
    let (name, _) = provider::cut(&unsigned(), "<saml:NameID", "</saml:NameID>");
    assert_eq!(accept(&signed_with(&name, "")).name_id, None);
    let error = SamlError::Markup(MarkupError::Repeated("NameID"));
    assert_eq!(refuse(&signed_with(&name, &format!("{name}{name}"))), error);
    assert_eq!(
        refuse(&signed_with("ada-7d1f", " ")),
        SamlError::Missing("text in NameID")
    );
}

#[test]
fn times_that_are_none() {
    for wrong in [
        "yesterday",
        "2026-11-27T12:00:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ] {
        let text = signed_with(
            "AuthnInstant=\"2026-11-27T11:59:00Z\"",
            &format!("AuthnInstant=\"{wrong}\""),
        );
        assert_eq!(
            refuse(&text),
            SamlError::Instant {
                what: "AuthnInstant",
                value: wrong.to_owned()
            }
        );
    }
}
