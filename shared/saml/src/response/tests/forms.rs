//! Signatures of another form than the one that is accepted, each made by the right key.

use bergshamra_c14n::C14nMode;

use super::*;
use crate::{
    SignatureError,
    names::{ENVELOPED, EXCLUSIVE},
};
use provider::{key, other_key};

/// Refuses what the right key signed that way.
#[track_caller]
fn refuse_part(part: &Part) -> SignatureError {
    match refuse(&sign(&unsigned(), part)) {
        SamlError::Signature { of, error } => {
            assert_eq!(of, "assertion");
            error
        }
        other => panic!("{other}"),
    }
}

#[test]
fn another_providers_key() {
    let part = Part {
        key: other_key(),
        ..Part::assertion()
    };
    assert_eq!(refuse_part(&part), SignatureError::Key);
}

#[test]
fn key_from_key_info_is_not_taken() {
    let certificate = other_key().certificate().to_base64();
    let part = Part {
        key: other_key(),
        tail: format!(
            "<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        ),
        ..Part::assertion()
    };
    assert_eq!(refuse_part(&part), SignatureError::Key);
    // Whatever stands there, the right key is the right key.
    let part = Part { key: key(), ..part };
    assert_eq!(accept(&sign(&unsigned(), &part)).id, "_assertion");
}

#[test]
fn value_of_another_signature() {
    let other = provider::signed_with("ada-7d1f", "eve-0001");
    let (value, _) = provider::cut(&other, "<ds:SignatureValue>", "</ds:SignatureValue>");
    let error = SamlError::Signature {
        of: "assertion",
        error: SignatureError::Key,
    };
    let text = signed();
    let (own, _) = provider::cut(&text, "<ds:SignatureValue>", "</ds:SignatureValue>");
    assert_eq!(refuse(&text.replace(&own, &value)), error);
    assert_eq!(refuse(&text.replace(&own, "<ds:SignatureValue/>")), error);
    let broken = text.replace(&own, "<ds:SignatureValue>?</ds:SignatureValue>");
    assert_eq!(
        refuse(&broken),
        SamlError::Signature {
            of: "assertion",
            error: SignatureError::Base64("SignatureValue")
        }
    );
}

#[test]
fn weaker_signature_algorithms() {
    for method in [
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
        // With the public key as the secret.
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        "none",
        "",
    ] {
        let part = Part {
            method: Some(method.to_owned()),
            ..Part::assertion()
        };
        assert_eq!(
            refuse_part(&part),
            SignatureError::Algorithm(method.to_owned())
        );
    }
    // An algorithm for keys of another kind than the provider's.
    let part = Part {
        method: Some(crate::names::RSA_SHA512.to_owned()),
        ..Part::assertion()
    };
    assert_eq!(refuse_part(&part), SignatureError::Key);
}

#[test]
fn weaker_digests() {
    for method in [
        "http://www.w3.org/2000/09/xmldsig#sha1",
        "http://www.w3.org/2001/04/xmldsig-more#md5",
        "http://www.w3.org/2001/04/xmldsig-more#sha224",
    ] {
        let part = Part {
            digest_method: method.to_owned(),
            ..Part::assertion()
        };
        assert_eq!(
            refuse_part(&part),
            SignatureError::DigestAlgorithm(method.to_owned())
        );
    }
}

#[test]
fn shortened_hmac_and_other_content_of_methods() {
    let part = Part {
        method_content: "<ds:HMACOutputLength>8</ds:HMACOutputLength>",
        ..Part::assertion()
    };
    assert_eq!(refuse_part(&part), SignatureError::Form("SignatureMethod"));
}

#[test]
fn other_canonicalisations() {
    for method in [
        "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
        "http://www.w3.org/2006/12/xml-c14n11",
    ] {
        let part = Part {
            canonicalization: method.to_owned(),
            ..Part::assertion()
        };
        assert_eq!(
            refuse_part(&part),
            SignatureError::Canonicalization(method.to_owned())
        );
    }
}

#[test]
fn transforms_smuggled_in() {
    let one = |algorithm: &str| format!("<ds:Transform Algorithm=\"{algorithm}\"/>");
    let (enveloped, exclusive) = (one(ENVELOPED), one(EXCLUSIVE));
    let xpath = "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>true()</ds:XPath></ds:Transform>";
    let xslt = one("http://www.w3.org/TR/1999/REC-xslt-19991116");
    let base64 = one("http://www.w3.org/2000/09/xmldsig#base64");
    for transforms in [
        String::new(),
        enveloped.clone(),
        exclusive.clone(),
        format!("{exclusive}{enveloped}"),
        format!("{enveloped}{exclusive}{exclusive}"),
        format!("{enveloped}{xpath}{exclusive}"),
        format!("{enveloped}{xslt}"),
        format!("{enveloped}{base64}"),
        format!(
            "{enveloped}{}",
            one("http://www.w3.org/2001/10/xml-exc-c14n#WithComments")
        ),
    ] {
        let part = Part {
            transforms,
            ..Part::assertion()
        };
        assert_eq!(
            refuse_part(&part),
            SignatureError::Transforms,
            "{}",
            part.transforms
        );
    }
    // A name of another namespace is no transform, though readers of local names take it for one.
    let foreign = format!("{enveloped}<x:Transform xmlns:x=\"urn:x\" Algorithm=\"{EXCLUSIVE}\"/>");
    // Nor is an attribute of another namespace the algorithm.
    let prefixed =
        format!("{enveloped}<ds:Transform ds:Algorithm=\"urn:x\" Algorithm=\"{EXCLUSIVE}\"/>");
    let list = format!(
        "{enveloped}<ds:Transform Algorithm=\"{EXCLUSIVE}\"><x:InclusiveNamespaces xmlns:x=\"urn:x\" PrefixList=\"a\"/></ds:Transform>"
    );
    let many = "a ".repeat(17);
    let many = format!(
        "{enveloped}<ds:Transform Algorithm=\"{EXCLUSIVE}\"><x:InclusiveNamespaces xmlns:x=\"{EXCLUSIVE}\" PrefixList=\"{many}\"/></ds:Transform>"
    );
    for (transforms, form) in [
        (foreign, "Transforms"),
        (prefixed, "Transform"),
        (list, "Transform"),
        (many, "Transform"),
    ] {
        let part = Part {
            transforms,
            ..Part::assertion()
        };
        assert_eq!(
            refuse_part(&part),
            SignatureError::Form(form),
            "{}",
            part.transforms
        );
    }
}

#[test]
fn references_to_something_else() {
    for uri in [
        "",
        "#",
        "#_response",
        "_assertion",
        "#xpointer(/)",
        "#xpointer(id('_assertion'))",
        "cid:_assertion",
        "https://idp.example.com/#_assertion",
        "file:///etc/passwd",
        "Cargo.toml",
    ] {
        let part = Part {
            uri: uri.to_owned(),
            ..Part::assertion()
        };
        assert_eq!(refuse_part(&part), SignatureError::Target(uri.to_owned()));
    }
    // No URI at all is one to be guessed.
    let text = provider::changed(&signed(), " URI=\"#_assertion\"", "");
    let error = SignatureError::Target(String::new());
    assert_eq!(
        refuse(&text),
        SamlError::Signature {
            of: "assertion",
            error
        }
    );
}

#[test]
fn several_references() {
    let references = "<ds:Reference URI=\"#_response\"/>".to_owned();
    let part = Part {
        references,
        ..Part::assertion()
    };
    assert_eq!(refuse_part(&part), SignatureError::References(2));
}

#[test]
fn objects_and_other_content_of_a_signature() {
    for (tail, error) in [
        ("<ds:Object/>", SignatureError::Object),
        (
            "<ds:Object><ds:Manifest/></ds:Object>",
            SignatureError::Object,
        ),
        (
            "<ds:KeyInfo/><ds:KeyInfo/>",
            SignatureError::Form("Signature"),
        ),
        ("<ds:SignedInfo/>", SignatureError::Form("Signature")),
        (
            "<x:KeyInfo xmlns:x=\"urn:x\"/>",
            SignatureError::Form("Signature"),
        ),
    ] {
        let part = Part {
            tail: tail.to_owned(),
            ..Part::assertion()
        };
        assert_eq!(refuse_part(&part), error, "{tail}");
    }
}

#[test]
fn comments_that_are_signed() {
    let part = Part {
        mode: C14nMode::ExclusiveWithComments,
        transforms: format!(
            "<ds:Transform Algorithm=\"{ENVELOPED}\"/><ds:Transform Algorithm=\"{EXCLUSIVE}WithComments\"/>"
        ),
        ..Part::assertion()
    };
    let text = provider::changed(&unsigned(), "ada-7d1f", "ada<!---->-7d1f");
    assert_eq!(
        refuse(&sign(&text, &part)),
        SamlError::Markup(MarkupError::Comment)
    );
}

#[test]
fn two_signatures_of_one_element() {
    let twice = sign(&signed(), &Part::assertion());
    assert_eq!(
        refuse(&twice),
        SamlError::Signature {
            of: "assertion",
            error: SignatureError::Markup(MarkupError::Repeated("Signature"))
        }
    );
}
