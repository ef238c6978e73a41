//! Signed content is moved, and something forged stands where it was.

use super::*;
use crate::SignatureError;
use provider::{assertion, changed, cut};

/// An assertion that nobody signed, about somebody else, under another id.
fn evil() -> String {
    let evil = changed(&assertion(), "ada-7d1f", "root-0000");
    changed(&evil, "ID=\"_assertion\"", "ID=\"_evil\"")
}

/// The signed assertion, and the response without it.
fn taken_out(text: &str) -> (String, String) {
    let (assertion, rest) = cut(text, "<saml:Assertion", "</saml:Assertion>");
    (
        assertion,
        changed(&rest, "</samlp:Response>", "HERE</samlp:Response>"),
    )
}

/// The assertion without its signature, and the signature.
fn signature_of(assertion: &str) -> (String, String) {
    let (signature, rest) = cut(assertion, "<ds:Signature", "</ds:Signature>");
    (rest, signature)
}

/// Puts a text behind the issuer of the evil assertion.
fn evil_with(signature: &str) -> String {
    let evil = evil();
    let at = evil.find("</saml:Issuer>").unwrap() + "</saml:Issuer>".len();
    format!("{}{signature}{}", &evil[..at], &evil[at..])
}

/// Refused whether a signature of the response would suffice or not.
#[track_caller]
fn refuse_always(text: &str) -> SamlError {
    let metadata = provider::metadata();
    let mut expectation = expectation(&metadata);
    let error = verify_response_xml(text.as_bytes(), &expectation).unwrap_err();
    expectation.accepts_signed_response = true;
    verify_response_xml(text.as_bytes(), &expectation).unwrap_err();
    error
}

/// A response whose own signature moves with its original, and the forged response around it.
fn signed_response() -> (String, String, String) {
    let signed = sign(&unsigned(), &Part::response());
    let (signature, original) = cut(&signed, "<ds:Signature", "</ds:Signature>");
    let forged = changed(&original, "ada-7d1f", "root-0000");
    let forged = changed(&forged, "ID=\"_response\"", "ID=\"_evil-response\"");
    let forged = changed(&forged, "ID=\"_assertion\"", "ID=\"_evil\"");
    (original, signature, forged)
}

#[test]
fn what_is_cut_and_put_back_is_still_good() {
    let (assertion, rest) = taken_out(&signed());
    assert_eq!(accept(&rest.replace("HERE", &assertion)).id, "_assertion");
}

#[test]
fn xsw1_original_response_inside_the_signature_of_a_forged_one() {
    let (original, signature, forged) = signed_response();
    let signature = changed(
        &signature,
        "</ds:Signature>",
        &format!("{original}</ds:Signature>"),
    );
    let text = forged.replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1);
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
}

#[test]
fn xsw2_original_response_beside_its_signature_in_a_forged_one() {
    let (original, signature, forged) = signed_response();
    let both = format!("</saml:Issuer>{original}{signature}");
    let text = forged.replacen("</saml:Issuer>", &both, 1);
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
}

#[test]
fn xsw3_forged_assertion_before_the_signed_one() {
    let (assertion, rest) = taken_out(&signed());
    let text = rest.replace("HERE", &format!("{}{assertion}", evil()));
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
}

#[test]
fn xsw4_signed_assertion_inside_a_forged_one() {
    let (assertion, rest) = taken_out(&signed());
    let wrapping = changed(
        &evil(),
        "</saml:Assertion>",
        &format!("{assertion}</saml:Assertion>"),
    );
    assert_eq!(
        refuse_always(&rest.replace("HERE", &wrapping)),
        SamlError::AssertionCount(2)
    );
}

#[test]
fn xsw5_signature_in_a_forged_assertion_and_the_original_behind() {
    let (assertion, rest) = taken_out(&signed());
    let (original, signature) = signature_of(&assertion);
    let text = rest.replace("HERE", &format!("{}{original}", evil_with(&signature)));
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
}

#[test]
fn xsw6_original_inside_the_signature_in_a_forged_assertion() {
    let (assertion, rest) = taken_out(&signed());
    let (original, signature) = signature_of(&assertion);
    let signature = changed(
        &signature,
        "</ds:Signature>",
        &format!("{original}</ds:Signature>"),
    );
    let text = rest.replace("HERE", &evil_with(&signature));
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
}

#[test]
fn xsw7_forged_assertion_in_extensions() {
    let extensions = format!(
        "<samlp:Extensions>{}</samlp:Extensions><samlp:Status>",
        evil()
    );
    let text = changed(&signed(), "<samlp:Status>", &extensions);
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
}

#[test]
fn xsw8_original_in_an_object_of_the_signature_in_a_forged_assertion() {
    let (assertion, rest) = taken_out(&signed());
    let (original, signature) = signature_of(&assertion);
    let object = format!("<ds:Object>{original}</ds:Object></ds:Signature>");
    let signature = changed(&signature, "</ds:Signature>", &object);
    let text = rest.replace("HERE", &evil_with(&signature));
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
}

#[test]
fn signature_of_the_original_in_a_forged_assertion_alone() {
    // Even when the original is nowhere: a signature is of the element that it stands in.
    let (assertion, rest) = taken_out(&signed());
    let (_, signature) = signature_of(&assertion);
    assert_eq!(
        refuse_always(&rest.replace("HERE", &evil_with(&signature))),
        SamlError::Signature {
            of: "assertion",
            error: SignatureError::Target("#_assertion".to_owned())
        }
    );
    // And under the original's id its content is compared.
    let forged = changed(&evil_with(&signature), "ID=\"_evil\"", "ID=\"_assertion\"");
    assert_eq!(
        refuse_always(&rest.replace("HERE", &forged)),
        SamlError::Signature {
            of: "assertion",
            error: SignatureError::Digest
        }
    );
}

#[test]
fn duplicate_assertion_before_and_after() {
    let (assertion, rest) = taken_out(&signed());
    for (first, second) in [(evil(), assertion.clone()), (assertion.clone(), evil())] {
        let text = rest.replace("HERE", &format!("{first}{second}"));
        assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
    }
    // The same one twice has the same id twice.
    let text = rest.replace("HERE", &format!("{assertion}{assertion}"));
    let twice = MarkupError::DuplicateId("_assertion".to_owned());
    assert_eq!(refuse_always(&text), SamlError::Markup(twice));
}

#[test]
fn two_elements_with_one_id_in_any_spelling() {
    for attribute in ["ID", "Id", "id", "iD", "xml:id", "AssertionID", "saml:ID"] {
        let status = format!("<samlp:Status {attribute}=\"_assertion\">");
        let text = changed(&signed(), "<samlp:Status>", &status);
        let twice = MarkupError::DuplicateId("_assertion".to_owned());
        assert_eq!(
            refuse_always(&text),
            SamlError::Markup(twice),
            "{attribute}"
        );
    }
}

#[test]
fn assertion_of_another_namespace_counts() {
    // Some readers look for the name alone.
    let extensions =
        "<samlp:Extensions><x:Assertion xmlns:x=\"urn:x\"/></samlp:Extensions><samlp:Status>";
    let text = changed(&signed(), "<samlp:Status>", extensions);
    assert_eq!(refuse_always(&text), SamlError::AssertionCount(2));
    let moved = changed(
        &signed(),
        "<saml:Assertion",
        "<samlp:Extensions><saml:Assertion",
    );
    let moved = changed(
        &moved,
        "</saml:Assertion>",
        "</saml:Assertion></samlp:Extensions>",
    );
    assert_eq!(refuse_always(&moved), SamlError::AssertionPlace);
    let none = taken_out(&signed()).1;
    assert_eq!(refuse_always(&none), SamlError::AssertionCount(0));
}

#[test]
fn signature_moved_into_extensions_or_beside_the_assertion() {
    let (signature, rest) = cut(&signed(), "<ds:Signature", "</ds:Signature>");
    let extensions = format!("<samlp:Extensions>{signature}</samlp:Extensions><samlp:Status>");
    for text in [
        changed(&rest, "<samlp:Status>", &extensions),
        changed(
            &rest,
            "<saml:Subject>",
            &format!("<saml:Advice>{signature}</saml:Advice><saml:Subject>"),
        ),
    ] {
        assert_eq!(refuse_always(&text), SamlError::SignaturePlace);
    }
    // Directly in the response it is a signature of something else than the response: detached.
    let detached = changed(
        &rest,
        "<samlp:Status>",
        &format!("{signature}<samlp:Status>"),
    );
    assert_eq!(
        refuse_always(&detached),
        SamlError::Signature {
            of: "response",
            error: SignatureError::Target("#_assertion".to_owned())
        }
    );
}

#[test]
fn signature_over_the_response_only() {
    let text = sign(&unsigned(), &Part::response());
    assert_eq!(refuse(&text), SamlError::OnlyResponseSigned);
    let metadata = provider::metadata();
    let mut expectation = expectation(&metadata);
    expectation.accepts_signed_response = true;
    assert_eq!(
        verify_response_xml(text.as_bytes(), &expectation)
            .unwrap()
            .id,
        "_assertion"
    );
    let forged = changed(&text, "ada-7d1f", "root-0000");
    assert_eq!(
        verify_response_xml(forged.as_bytes(), &expectation),
        Err(SamlError::Signature {
            of: "response",
            error: SignatureError::Digest
        })
    );
}

#[test]
fn no_signature_at_all() {
    assert_eq!(refuse_always(&unsigned()), SamlError::Unsigned);
    // One of another namespace is none, and stands nowhere that one may.
    let fake = changed(
        &unsigned(),
        "<saml:Subject>",
        "<Signature xmlns=\"urn:x\"/><saml:Subject>",
    );
    assert_eq!(refuse_always(&fake), SamlError::SignaturePlace);
}

#[test]
fn content_changed_after_signing() {
    for (from, to) in [
        ("ada-7d1f", "root-0000"),
        ("engineers", "administrators"),
        ("Name=\"groups\"", "Name=\"roles\""),
        (
            "NotOnOrAfter=\"2026-11-27T12:05:00Z\"",
            "NotOnOrAfter=\"2026-11-27T12:55:00Z\"",
        ),
        (
            "</saml:AttributeStatement>",
            "<saml:Attribute Name=\"x\"/></saml:AttributeStatement>",
        ),
    ] {
        assert_eq!(
            refuse_always(&changed(&signed(), from, to)),
            SamlError::Signature {
                of: "assertion",
                error: SignatureError::Digest
            },
            "{to}"
        );
    }
}

#[test]
fn namespace_redefined_after_signing() {
    // The prefix of a name means another namespace: the name as written is the same.
    let text = changed(
        &signed(),
        "<saml:Subject>",
        "<saml:Subject xmlns:saml=\"urn:x\">",
    );
    assert_eq!(
        refuse_always(&text),
        SamlError::Signature {
            of: "assertion",
            error: SignatureError::Digest
        }
    );
    // A declaration that nothing uses is not signed, and changes nothing.
    let text = changed(
        &signed(),
        "<saml:Subject>",
        "<saml:Subject xmlns:unused=\"urn:x\">",
    );
    assert_eq!(accept(&text).name_id.unwrap().value, "ada-7d1f");
    // Signed that way, it has no subject.
    let text = provider::signed_with("<saml:Subject>", "<saml:Subject xmlns:saml=\"urn:x\">");
    assert_eq!(refuse_always(&text), SamlError::Missing("Subject"));
}

#[test]
fn comments_and_instructions_spliced_into_a_name() {
    for (splice, error) in [
        ("<!---->", MarkupError::Comment),
        ("<?x?>", MarkupError::ProcessingInstruction),
        ("<![CDATA[]]>", MarkupError::Cdata),
    ] {
        let spliced = format!("ada{splice}-7d1f");
        // After signing: canonicalisation leaves comments out, so the signature would hold.
        let after = changed(&signed(), "ada-7d1f", &spliced);
        assert_eq!(refuse_always(&after), SamlError::Markup(error.clone()));
        let before = provider::signed_with("ada-7d1f", &spliced);
        assert_eq!(refuse_always(&before), SamlError::Markup(error.clone()));
    }
    let inside = provider::signed_with("ada-7d1f", "ada<saml:b/>-7d1f");
    let error = MarkupError::ElementInText("NameID".to_owned());
    assert_eq!(refuse_always(&inside), SamlError::Markup(error));
}
