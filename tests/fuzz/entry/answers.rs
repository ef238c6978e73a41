//! Any bytes as an identity provider's answer, and as its metadata.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_saml::{
    Expectation, ExpectedRequest, ProviderMetadata, SamlError, VerifiedAssertion, XmlLimits,
    claimed_audiences, verify_response, verify_response_xml,
};

/// What another implementation signed.
const SIGNED: [&str; 3] = [
    include_str!("../../../shared/saml/src/response/tests/pysaml2/assertion.xml"),
    include_str!("../../../shared/saml/src/response/tests/pysaml2/both.xml"),
    include_str!("../../../shared/saml/src/response/tests/pysaml2/response.xml"),
];
/// What it did not sign, or signed too weakly.
const OTHERS: [&str; 2] = [
    include_str!("../../../shared/saml/src/response/tests/pysaml2/sha1.xml"),
    include_str!("../../../shared/saml/src/response/tests/pysaml2/failure.xml"),
];
const METADATA: &str = include_str!("../../../shared/saml/src/response/tests/pysaml2/metadata.xml");

static PROVIDER: LazyLock<ProviderMetadata> = LazyLock::new(|| {
    ProviderMetadata::parse(METADATA.as_bytes(), &[], &XmlLimits::default()).expect("metadata")
});

/// What the signed messages say.
static SAID: LazyLock<Vec<VerifiedAssertion>> = LazyLock::new(|| {
    let assertions = SIGNED.iter().map(|text| verify(text.as_bytes(), true));
    assertions.map(|one| one.expect("a good answer")).collect()
});

fn expect(accepts_signed_response: bool) -> Expectation<'static> {
    Expectation {
        provider: &PROVIDER,
        entity_id: "https://sp.example.com/saml/metadata",
        acs_url: "https://sp.example.com/saml/acs",
        request: ExpectedRequest::Id("_request-1"),
        accepts_signed_response,
        authn_contexts: &[],
        authenticated_after: None,
        limits: XmlLimits::default(),
        now: "2026-11-27T04:18:30Z".parse().expect("a time"),
    }
}

fn verify(input: &[u8], accepts_signed_response: bool) -> Result<VerifiedAssertion, SamlError> {
    verify_response_xml(input, &expect(accepts_signed_response))
}

/// Answers, answers with a forged one in several places, and metadata.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<String> = SIGNED
        .iter()
        .chain(&OTHERS)
        .map(|text| (*text).to_owned())
        .collect();
    for text in SIGNED {
        let forged = text.replace("ada-7d1f", "eve-0001").replace("id-", "id-0");
        let begin = forged.find("<ns1:Assertion").expect("an assertion");
        let end = forged.find("</ns0:Response>").expect("a response");
        let forged = &forged[begin..end];
        for place in [
            "<ns1:Assertion",
            "<ns1:Subject>",
            "</ns2:Signature>",
            "</ns0:Response>",
        ] {
            seeds.push(text.replacen(place, &format!("{forged}{place}"), 1));
        }
    }
    seeds.push(METADATA.to_owned());
    seeds.into_iter().map(String::into_bytes).collect()
}

/// What is accepted says what was signed, and nothing else.
pub fn run(input: &[u8]) {
    for accepts_signed_response in [false, true] {
        match verify(input, accepts_signed_response) {
            Ok(said) => assert!(SAID.contains(&said), "nobody signed {said:?}"),
            Err(error) => assert!(error.to_string().len() < 2000, "texts are short"),
        }
    }
    let limits = XmlLimits::default();
    let _ = claimed_audiences(&STANDARD.encode(input), &limits);
    if let Ok(field) = std::str::from_utf8(input) {
        let _ = verify_response(field, &expect(false));
        let _ = claimed_audiences(field, &limits);
    }
    match ProviderMetadata::parse(input, &[], &limits) {
        Ok(metadata) => {
            let _ = metadata.warnings("2027-01-01T00:00:00Z".parse().expect("a time"));
            let pinned = &PROVIDER.certificates;
            let result = ProviderMetadata::parse(input, pinned, &limits);
            assert!(result.is_err(), "nobody signed it");
        }
        Err(error) => assert!(error.to_string().len() < 2000, "texts are short"),
    }
}
