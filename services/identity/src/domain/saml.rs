//! SAML providers: what a connection says of one, who the person is that an assertion is about, and when metadata is loaded
//! again.

use bowline_proto::identity::v1::SamlProvider;
use bowline_saml::{
    NAME_ID_EMAIL, NAME_ID_PERSISTENT, NAME_ID_TRANSIENT, ProviderMetadata, SamlError,
    SigningCertificate, VerifiedAssertion, XmlLimits,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    check_text,
    condition::{LoginProof, ProofKind},
    connection::check_provider_url,
    person::{Person, clean_text, refused},
};
use crate::error::IdentityError;

/// The most certificates that may have signed the metadata.
const MOST_PINNED: usize = 5;
/// Metadata is loaded again once a day, or sooner where the provider says so.
const LONGEST_AGE: TimeDelta = TimeDelta::days(1);
/// And not more often than that.
const SHORTEST_AGE: TimeDelta = TimeDelta::minutes(5);
/// The most groups of a person.
const MOST_GROUPS: usize = 1000;

/// The names that providers give the mail address by custom.
const MAIL_NAMES: [&str; 5] = [
    "email",
    "mail",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "urn:oid:1.2.840.113549.1.9.1",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
];
/// The names that providers give the name for people by custom.
const DISPLAY_NAMES: [&str; 5] = [
    "displayName",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "name",
    "http://schemas.microsoft.com/identity/claims/displayname",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
];

/// Checks a provider, and writes it in one form. What the server sets is taken out.
pub fn normalize_saml(saml: &mut SamlProvider) -> Result<(), IdentityError> {
    if !saml.metadata_url.is_empty() {
        check_text("metadata_url", &saml.metadata_url, 1024)?;
        check_provider_url("metadata_url", &saml.metadata_url)?;
    }
    for (field, name) in [
        ("mail_attribute", &mut saml.mail_attribute),
        ("name_attribute", &mut saml.name_attribute),
        ("groups_attribute", &mut saml.groups_attribute),
        ("identity_attribute", &mut saml.identity_attribute),
    ] {
        *name = name.trim().to_owned();
        check_text(field, name, 500)?;
    }
    if is_mail_name(saml, &saml.identity_attribute) {
        let problem = "is the mail address, which can be given to somebody else: name one that never changes, such as an \
                       employee number";
        return Err(IdentityError::invalid("identity_attribute", problem));
    }
    read_pinned(saml).map(drop)
}

fn is_mail_name(saml: &SamlProvider, name: &str) -> bool {
    !name.is_empty() && (name == saml.mail_attribute || MAIL_NAMES.contains(&name))
}

/// Returns the certificates one of which must have signed the metadata.
pub fn read_pinned(saml: &SamlProvider) -> Result<Vec<SigningCertificate>, IdentityError> {
    let invalid = |problem| IdentityError::invalid("metadata_certificates", problem);
    if saml.metadata_certificates.len() > MOST_PINNED {
        return Err(invalid(format!("are more than {MOST_PINNED}")));
    }
    let texts = saml.metadata_certificates.iter();
    let read = texts.map(|text| SigningCertificate::from_text(text));
    read.collect::<Result<_, _>>()
        .map_err(|error| invalid(error.to_string()))
}

/// Reads a provider's metadata, which must have the connection's pinned signature and be of its provider.
pub fn read_metadata(
    saml: &SamlProvider,
    document: &[u8],
) -> Result<ProviderMetadata, IdentityError> {
    let invalid = |problem| IdentityError::invalid("saml_metadata", problem);
    let read = ProviderMetadata::parse(document, &read_pinned(saml)?, &XmlLimits::default());
    let metadata = read.map_err(|error| invalid(error.to_string()))?;
    if !saml.entity_id.is_empty() && metadata.entity_id != saml.entity_id {
        return Err(invalid(format!(
            "is of the provider \"{}\", and this connection is to \"{}\": another provider's people are others, so make a new \
             connection and link the users",
            metadata.entity_id, saml.entity_id
        )));
    }
    Ok(metadata)
}

/// Returns when metadata that is loaded now is to be loaded again: before it ends.
pub fn next_reload(metadata: &ProviderMetadata, now: DateTime<Utc>) -> DateTime<Utc> {
    let left = metadata.valid_until.map(|until| (until - now) / 2);
    let ages = [metadata.cache_duration, left];
    let wanted = ages.into_iter().flatten().min().unwrap_or(LONGEST_AGE);
    now + wanted.clamp(SHORTEST_AGE, LONGEST_AGE)
}

/// Says whether two documents mean the same: the same keys, addresses and name.
pub fn is_same_provider(one: &ProviderMetadata, other: &ProviderMetadata) -> bool {
    one.certificates == other.certificates
        && one.single_sign_on == other.single_sign_on
        && one.single_logout == other.single_logout
        && one.wants_signed_requests == other.wants_signed_requests
}

/// Returns a provider's metadata as the audit trail shows it.
pub fn describe_metadata(metadata: &ProviderMetadata) -> Value {
    let certificates = metadata.certificates.iter();
    let sign_on = metadata.single_sign_on.iter();
    json!({
        "certificates": certificates.map(SigningCertificate::fingerprint).collect::<Vec<_>>(),
        "sign_on": sign_on.map(|one| one.location.clone()).collect::<Vec<_>>(),
    })
}

/// Reads who the person is from what the provider has signed.
pub fn read_person(
    saml: &SamlProvider,
    assertion: &VerifiedAssertion,
) -> Result<Person, IdentityError> {
    let first = |name: &str| {
        let values = assertion.attributes.get(name)?;
        values.iter().find(|value| !value.is_empty())
    };
    let named = |name: &str, customary: &[&str]| match name {
        "" => customary.iter().find_map(|name| first(name)),
        name => first(name),
    };
    let mut groups = match saml.groups_attribute.as_str() {
        "" => None,
        // Providers leave the attribute out for somebody who is in no group.
        name => Some(assertion.attributes.get(name).cloned().unwrap_or_default()),
    };
    if let Some(groups) = &mut groups {
        groups.truncate(MOST_GROUPS);
    }
    let text = |value: Option<&String>| clean_text(value.map_or("", String::as_str));
    let mail = named(&saml.mail_attribute, &MAIL_NAMES).filter(|mail| mail.contains('@'));
    Ok(Person {
        issuer: saml.entity_id.clone(),
        subject: read_subject(saml, assertion, first)?,
        mail: mail.cloned(),
        username: match saml.identity_attribute.as_str() {
            "" => String::new(),
            name => text(first(name)),
        },
        display_name: text(named(&saml.name_attribute, &DISPLAY_NAMES)),
        picture: String::new(),
        groups,
    })
}

/// Returns what the provider knows the person by for ever.
fn read_subject<'a>(
    saml: &SamlProvider,
    assertion: &'a VerifiedAssertion,
    first: impl Fn(&str) -> Option<&'a String>,
) -> Result<String, IdentityError> {
    if !saml.identity_attribute.is_empty() {
        let name = clean_text(&saml.identity_attribute);
        return first(&saml.identity_attribute).cloned().ok_or_else(|| {
            refused(&format!(
                "Your provider sends no attribute \"{name}\", by which people are known here. Ask its administrator to send it."
            ))
        });
    }
    let name_id = assertion.name_id.as_ref();
    let format = name_id.and_then(|name| name.format.as_deref());
    let found = match (name_id, format) {
        (Some(name), Some(NAME_ID_PERSISTENT)) => return Ok(name.value.clone()),
        (None, _) => "no name",
        (_, Some(NAME_ID_TRANSIENT)) => "a name that changes with each login",
        (_, Some(NAME_ID_EMAIL)) => "the mail address, which can be given to somebody else",
        _ => "a name of no kind",
    };
    Err(refused(&format!(
        "Your provider sends {found}. Ask its administrator to set the NameID format to persistent, or an administrator here to \
         name an attribute that never changes (--identity-attribute)."
    )))
}

/// Returns how the provider says that it has authenticated the person.
pub fn read_proof(assertion: &VerifiedAssertion) -> LoginProof {
    LoginProof {
        kind: ProofKind::Saml,
        class: assertion.authn_context.clone(),
        methods: Vec::new(),
        authenticated_at: Some(assertion.authn_instant.timestamp()),
    }
}

/// Says why an answer is not accepted, in words for the page: the text may be the provider's.
pub fn clip_refusal(error: &SamlError) -> String {
    let text: String = error
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(600)
        .collect();
    format!("Your provider's answer is not accepted: {text}.")
}

#[cfg(test)]
mod tests;
