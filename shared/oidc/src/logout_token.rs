//! A provider's word that a person has logged out there (OpenID Connect Back-Channel Logout 1.0). Pure.
//!
//! Anybody can send such a token, so that what costs nothing is looked at first: a provider is asked for a new key only for a
//! token that is right in all else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    JsonWebKey as _, JsonWebKeyAlgorithm, JsonWebKeyId, JsonWebKeyUse as _,
    JwsSigningAlgorithm as _,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::login::ALGORITHMS;

/// The longest token, in bytes.
const LONGEST_TOKEN: usize = 16 << 10;
/// The longest text that names a person, a session or a token.
const LONGEST_NAME: usize = 512;
/// The one event that a logout is.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How old a token may be: it is sent at once.
const OLDEST: TimeDelta = TimeDelta::minutes(5);
/// How far a provider's clock may be ahead or behind.
const SKEW: TimeDelta = TimeDelta::minutes(1);

/// Why a logout token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogoutTokenError {
    /// It is no signed token.
    #[error("it is no signed token: {0}")]
    Form(&'static str),
    /// Its header names a signature that anybody could have made, or none.
    #[error("its algorithm is {0}, and only signatures by a key pair are believed")]
    Algorithm(String),
    /// Its header says that it is something else.
    #[error("its type is {0}, and not logout+jwt")]
    Type(String),
    /// A claim is wrong or missing.
    #[error("its {claim} {problem}")]
    Claim {
        /// The claim.
        claim: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// The provider has no such key.
    #[error("it is signed by a key that the provider does not have")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
}

fn wrong(claim: &'static str, problem: &'static str) -> LogoutTokenError {
    LogoutTokenError::Claim { claim, problem }
}

/// Whose token it is to be.
#[derive(Clone, Copy, Debug)]
pub struct LogoutExpectation<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// This server at the provider.
    pub client_id: &'a str,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A logout, as the provider has signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderLogout {
    /// What the token is called: it is taken once.
    pub token_id: String,
    /// The person, who is logged out everywhere unless a session is named; `None` where only a session is.
    pub subject: Option<String>,
    /// The provider's session that has ended.
    pub provider_session: Option<String>,
    /// Until when the token must be remembered: then it is too old.
    pub replay_until: DateTime<Utc>,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<JsonWebKeyId>,
    typ: Option<Value>,
    crit: Option<Value>,
}

/// A token of which all is right but perhaps the signature.
pub(crate) struct UnverifiedLogout<'a> {
    logout: ProviderLogout,
    algorithm: CoreJwsSigningAlgorithm,
    key_id: Option<JsonWebKeyId>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Reads a token, and checks all but the signature.
pub(crate) fn read_logout_token<'a>(
    token: &'a str,
    expectation: &LogoutExpectation<'_>,
) -> Result<UnverifiedLogout<'a>, LogoutTokenError> {
    if token.len() > LONGEST_TOKEN {
        return Err(LogoutTokenError::Form("it is longer than 16 KiB"));
    }
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(LogoutTokenError::Form("it has not three parts"));
    };
    let decode = |part: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(part);
        decoded.map_err(|_| LogoutTokenError::Form("a part is not in base64url"))
    };
    let header_is_wrong = |_| LogoutTokenError::Form("its header is no JSON object with alg");
    let read: TokenHeader = serde_json::from_slice(&decode(header)?).map_err(header_is_wrong)?;
    let algorithm = check_header(&read)?;
    let claims_are_wrong = |_| LogoutTokenError::Form("its claims are no JSON object");
    let claims = serde_json::from_slice(&decode(claims)?).map_err(claims_are_wrong)?;
    Ok(UnverifiedLogout {
        logout: check_claims(&claims, expectation)?,
        algorithm,
        key_id: read.kid,
        signed: &token[..token.len() - signature.len() - 1],
        signature: decode(signature)?,
    })
}

fn check_header(header: &TokenHeader) -> Result<CoreJwsSigningAlgorithm, LogoutTokenError> {
    let named = serde_json::from_value(Value::String(header.alg.clone())).ok();
    let algorithm = named.filter(|named| ALGORITHMS.contains(named));
    let algorithm = algorithm.ok_or_else(|| {
        let shown = header.alg.chars().filter(|c| !c.is_control()).take(20);
        LogoutTokenError::Algorithm(shown.collect())
    })?;
    if header.crit.is_some() {
        return Err(LogoutTokenError::Form("its header asks for an extension"));
    }
    match &header.typ {
        None => {}
        Some(Value::String(kind)) => {
            let kind = kind.to_ascii_lowercase();
            let name = kind.strip_prefix("application/").unwrap_or(&kind);
            // The specification only recommends the type of its own.
            if !matches!(name, "logout+jwt" | "jwt") {
                return Err(LogoutTokenError::Type(kind.chars().take(40).collect()));
            }
        }
        Some(_) => return Err(LogoutTokenError::Form("its typ is no text")),
    }
    Ok(algorithm)
}

fn check_claims(
    claims: &Map<String, Value>,
    expectation: &LogoutExpectation<'_>,
) -> Result<ProviderLogout, LogoutTokenError> {
    let LogoutExpectation {
        issuer,
        client_id,
        now,
    } = *expectation;
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(wrong("iss", "is not the provider of this connection"));
    }
    let is_for_us = match claims.get("aud") {
        Some(Value::String(only)) => only == client_id,
        Some(Value::Array(several)) => several.iter().any(|one| one == client_id),
        _ => false,
    };
    if !is_for_us {
        return Err(wrong("aud", "is not this server's client id"));
    }
    let issued = read_time(claims, "iat")?.ok_or(wrong("iat", "is missing"))?;
    if issued > now + SKEW {
        return Err(wrong("iat", "is in the future: compare the clocks"));
    }
    if issued < now - OLDEST {
        return Err(wrong("iat", "is more than five minutes ago"));
    }
    // Providers of the first drafts leave it out; then the age alone counts.
    if read_time(claims, "exp")?.is_some_and(|end| end + SKEW <= now) {
        return Err(wrong("exp", "is over"));
    }
    let events = claims.get("events").and_then(Value::as_object);
    if !events.is_some_and(|events| events.get(LOGOUT_EVENT).is_some_and(Value::is_object)) {
        return Err(wrong("events", "names no back-channel logout"));
    }
    // An ID token has one, and must never end a session.
    if claims.contains_key("nonce") {
        return Err(wrong("nonce", "must not be there"));
    }
    let subject = read_name(claims, "sub")?;
    let provider_session = read_name(claims, "sid")?;
    if subject.is_none() && provider_session.is_none() {
        return Err(wrong("sub", "and sid are both missing"));
    }
    Ok(ProviderLogout {
        token_id: read_name(claims, "jti")?.ok_or(wrong("jti", "is missing"))?,
        subject,
        provider_session,
        replay_until: issued + OLDEST + SKEW,
    })
}

fn read_time(
    claims: &Map<String, Value>,
    claim: &'static str,
) -> Result<Option<DateTime<Utc>>, LogoutTokenError> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a number out of range is no time"
    )]
    let seconds = value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    // Far from any time at which sums overflow.
    let usable = time.filter(|time| (0..=253_402_300_799).contains(&time.timestamp()));
    Ok(Some(usable.ok_or(wrong(claim, "is no time"))?))
}

fn read_name(
    claims: &Map<String, Value>,
    claim: &'static str,
) -> Result<Option<String>, LogoutTokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(name)) if !name.is_empty() && name.len() <= LONGEST_NAME => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(wrong(claim, "is no text of 1 to 512 bytes")),
    }
}

impl UnverifiedLogout<'_> {
    /// Returns what the provider has signed.
    ///
    /// # Errors
    ///
    /// `UnknownKey` when none of these keys can have signed it.
    pub(crate) fn verify(
        &self,
        keys: &CoreJsonWebKeySet,
    ) -> Result<ProviderLogout, LogoutTokenError> {
        let mut fitting = keys.keys().iter().filter(|key| self.fits(key)).peekable();
        if fitting.peek().is_none() {
            return Err(LogoutTokenError::UnknownKey);
        }
        let signed = self.signed.as_bytes();
        let is_right = fitting.any(|key| {
            let verified = key.verify_signature(&self.algorithm, signed, &self.signature);
            verified.is_ok()
        });
        match (is_right, &self.key_id) {
            (true, _) => Ok(self.logout.clone()),
            (false, Some(_)) => Err(LogoutTokenError::Signature),
            // Without a name, the key may be one that is not known yet.
            (false, None) => Err(LogoutTokenError::UnknownKey),
        }
    }

    /// Says whether a key may have signed the token: what the token says of keys and algorithms is not to be trusted.
    fn fits(&self, key: &CoreJsonWebKey) -> bool {
        let is_named = self.key_id.is_none() || self.key_id.as_ref() == key.key_id();
        let is_for_signatures = key.key_use().is_none_or(|usage| usage.allows_signature());
        let is_of_kind = self.algorithm.key_type().as_ref() == Some(key.key_type());
        let is_for_algorithm = match key.signing_alg() {
            JsonWebKeyAlgorithm::Unspecified => true,
            JsonWebKeyAlgorithm::Algorithm(only) => *only == self.algorithm,
            JsonWebKeyAlgorithm::Unsupported => false,
        };
        is_named && is_for_signatures && is_of_kind && is_for_algorithm
    }
}

#[cfg(test)]
mod tests;
