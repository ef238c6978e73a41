//! What the browser brings back from an identity provider.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};

use crate::{
    assertion::{VerifiedAssertion, read_assertion},
    error::SamlError,
    markup::{Comments, MarkupError, XmlLimits},
    metadata::ProviderMetadata,
    names::{ASSERTION, DSIG, PROTOCOL, SUCCESS},
    signature::{SignedElement, verify_enveloped},
    xml::{self, XmlElement, clip},
};

/// Which request an answer must belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedRequest<'a> {
    /// The request with this id, which was made for the browser that brings the answer.
    Id(&'a str),
    /// None: the provider began the login. Anybody can make a browser bring such an answer, so a connection must allow it.
    Unsolicited,
}

/// What an answer must fit.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// The provider of the connection.
    pub provider: &'a ProviderMetadata,
    /// What this service is called (its entity id).
    pub entity_id: &'a str,
    /// This service's address for answers.
    pub acs_url: &'a str,
    /// The request.
    pub request: ExpectedRequest<'a>,
    /// A signature of the whole response suffices. Otherwise the assertion itself must be signed.
    pub accepts_signed_response: bool,
    /// The ways of authentication that were asked for; none: any will do.
    pub authn_contexts: &'a [String],
    /// A new authentication was asked for at this time.
    pub authenticated_after: Option<DateTime<Utc>>,
    /// How large it may be.
    pub limits: XmlLimits,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Verifies an answer as the form field `SAMLResponse` has it.
///
/// # Errors
///
/// Why it is not accepted.
pub fn verify_response(
    field: &str,
    expectation: &Expectation<'_>,
) -> Result<VerifiedAssertion, SamlError> {
    verify_response_xml(&decode_field(field, &expectation.limits)?, expectation)
}

/// Verifies an answer in XML.
///
/// # Errors
///
/// Why it is not accepted.
pub fn verify_response_xml(
    bytes: &[u8],
    expectation: &Expectation<'_>,
) -> Result<VerifiedAssertion, SamlError> {
    if bytes.len() > expectation.limits.bytes {
        return Err(MarkupError::TooLong(expectation.limits.bytes).into());
    }
    if let Some(ended) = expectation.provider.ended_at(expectation.now) {
        return Err(SamlError::MetadataEnded(ended));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| MarkupError::NotUtf8)?;
    let document = xml::parse(text, &expectation.limits, Comments::Refused)?;
    let response = XmlElement::root(&document).ok_or(SamlError::Missing("Response"))?;
    if !response.is(PROTOCOL, "Response") {
        return Err(SamlError::NotResponse(clip(response.local_name())));
    }
    check_version(response)?;
    check_status(response)?;
    let assertion = find_assertion(response)?;
    check_signature_places(response, assertion)?;
    let signed = find_signed_assertion(response, assertion, expectation)?;
    check_envelope(response, expectation)?;
    read_assertion(signed, expectation)
}

/// Returns which services an answer says that it is for. Nothing is verified: it only finds whose answer is to be verified.
///
/// # Errors
///
/// Why it can not be read.
pub fn claimed_audiences(field: &str, limits: &XmlLimits) -> Result<Vec<String>, SamlError> {
    let bytes = decode_field(field, limits)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| MarkupError::NotUtf8)?;
    let document = xml::parse(text, limits, Comments::Refused)?;
    let response = XmlElement::root(&document).ok_or(SamlError::Missing("Response"))?;
    let audiences = response
        .descendants()
        .filter(|element| element.is(ASSERTION, "Audience"));
    Ok(audiences.map(XmlElement::text).collect::<Result<_, _>>()?)
}

/// Returns what the form field `SAMLResponse` has in base64.
fn decode_field(field: &str, limits: &XmlLimits) -> Result<Vec<u8>, SamlError> {
    // Base64 has four letters for three bytes, and line ends.
    if field.len() / 3 * 2 > limits.bytes {
        return Err(MarkupError::TooLong(limits.bytes).into());
    }
    let letters: String = field.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(letters).map_err(|_| SamlError::Base64)?;
    match bytes.len() > limits.bytes {
        true => Err(MarkupError::TooLong(limits.bytes).into()),
        false => Ok(bytes),
    }
}

pub(crate) fn check_version(element: XmlElement<'_>) -> Result<(), SamlError> {
    match element.attribute("Version") {
        Some("2.0") => Ok(()),
        other => Err(SamlError::Version(clip(other.unwrap_or_default()))),
    }
}

/// Checks that the provider says it went well. Nobody signed what it says otherwise.
fn check_status(response: XmlElement<'_>) -> Result<(), SamlError> {
    let status = response.one_child(PROTOCOL, "Status")?;
    let status = status.ok_or(SamlError::Missing("Status"))?;
    let code = status.one_child(PROTOCOL, "StatusCode")?;
    let code = code.ok_or(SamlError::Missing("StatusCode"))?;
    let value_of = |code: XmlElement<'_>| {
        let value = code.attribute("Value").unwrap_or_default();
        let short = value.strip_prefix("urn:oasis:names:tc:SAML:2.0:status:");
        clip(short.unwrap_or(value))
    };
    if code.attribute("Value") == Some(SUCCESS) {
        return Ok(());
    }
    let message = status.one_child(PROTOCOL, "StatusMessage")?;
    let message = message.map(XmlElement::text).transpose()?;
    Err(SamlError::Status {
        code: value_of(code),
        second: code.one_child(PROTOCOL, "StatusCode")?.map(value_of),
        message: message
            .map(|text| clip(&text))
            .filter(|text| !text.is_empty()),
    })
}

/// Returns the one assertion of the document, which stands directly in the response.
fn find_assertion(response: XmlElement<'_>) -> Result<XmlElement<'_>, SamlError> {
    let mut count = 0;
    for element in response.descendants() {
        match element.local_name() {
            "Assertion" => count += 1,
            name @ ("EncryptedAssertion" | "EncryptedID" | "EncryptedAttribute") => {
                return Err(SamlError::Encrypted(name.to_owned()));
            }
            _ => {}
        }
    }
    if count != 1 {
        return Err(SamlError::AssertionCount(count));
    }
    let assertion = response.one_child(ASSERTION, "Assertion")?;
    assertion.ok_or(SamlError::AssertionPlace)
}

/// Checks that every signature stands directly in what it signs.
fn check_signature_places(
    response: XmlElement<'_>,
    assertion: XmlElement<'_>,
) -> Result<(), SamlError> {
    let is_signature = |element: &XmlElement<'_>| element.local_name() == "Signature";
    let all = response.descendants().filter(is_signature).count();
    let expected = [response, assertion]
        .into_iter()
        .flat_map(|parent| parent.children_named(DSIG, "Signature"))
        .count();
    match all == expected {
        true => Ok(()),
        false => Err(SamlError::SignaturePlace),
    }
}

/// Checks every signature there is, and returns the assertion as what one of them covers.
fn find_signed_assertion<'d>(
    response: XmlElement<'d>,
    assertion: XmlElement<'d>,
    expectation: &Expectation<'_>,
) -> Result<SignedElement<'d>, SamlError> {
    let verify = |element, of| {
        verify_enveloped(element, &expectation.provider.certificates)
            .map_err(|error| SamlError::Signature { of, error })
    };
    let signed_response = verify(response, "response")?;
    let signed_assertion = verify(assertion, "assertion")?;
    match (signed_assertion, signed_response) {
        (Some(assertion), _) => Ok(assertion),
        (None, Some(response)) if expectation.accepts_signed_response => response
            .one_child(ASSERTION, "Assertion")?
            .ok_or(SamlError::AssertionPlace),
        (None, Some(_)) => Err(SamlError::OnlyResponseSigned),
        (None, None) => Err(SamlError::Unsigned),
    }
}

/// Checks what the response says of itself. It may not be signed, so it can only make an answer be refused.
fn check_envelope(
    response: XmlElement<'_>,
    expectation: &Expectation<'_>,
) -> Result<(), SamlError> {
    // The standard wants a destination in a signed message, so that it can not be passed on to somebody else.
    let is_signed = response.one_child(DSIG, "Signature")?.is_some();
    let destination = response.attribute("Destination").map(str::trim);
    if destination.is_some_and(|found| found != expectation.acs_url)
        || (is_signed && destination.is_none())
    {
        return Err(SamlError::Destination {
            found: clip(destination.unwrap_or_default()),
            expected: expectation.acs_url.to_owned(),
        });
    }
    if let Some(issuer) = response.one_child(ASSERTION, "Issuer")? {
        check_issuer(issuer, expectation)?;
    }
    check_request(
        response.attribute("InResponseTo"),
        expectation.request,
        Absent::IsFine,
    )
}

/// Checks who made a message or an assertion.
pub(crate) fn check_issuer(
    issuer: XmlElement<'_>,
    expectation: &Expectation<'_>,
) -> Result<(), SamlError> {
    let found = issuer.text()?;
    let has_format = issuer
        .attribute("Format")
        .is_none_or(|format| format == crate::names::ENTITY);
    if has_format && found == expectation.provider.entity_id {
        return Ok(());
    }
    Err(SamlError::Issuer {
        found: clip(&found),
        expected: expectation.provider.entity_id.clone(),
    })
}

/// Whether an answer to a request may leave the request's id out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// On the response, which may not be signed.
    IsFine,
    /// On the confirmation, which is signed.
    IsRefused,
}

/// Checks which request an answer says that it belongs to.
pub(crate) fn check_request(
    found: Option<&str>,
    expected: ExpectedRequest<'_>,
    absent: Absent,
) -> Result<(), SamlError> {
    match (found, expected) {
        (Some(found), ExpectedRequest::Id(id)) if found == id => Ok(()),
        (Some(found), _) => Err(SamlError::OtherRequest(clip(found))),
        (None, ExpectedRequest::Id(_)) if absent == Absent::IsRefused => {
            Err(SamlError::Unsolicited)
        }
        (None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
