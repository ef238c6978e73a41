//! What an ID token must say beyond what the library checks. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{IdTokenClaims, core::CoreGenderClaim};

use crate::types::OtherClaims;

/// How far a provider's clock may be ahead.
const SKEW: TimeDelta = TimeDelta::minutes(1);
/// The longest name of a person that is taken, in bytes. The standard allows 255.
const LONGEST_SUBJECT: usize = 512;

/// Refuses a token that was made for another client, is of a later time, or names nobody.
pub(crate) fn check_claims(
    claims: &IdTokenClaims<OtherClaims, CoreGenderClaim>,
    client_id: &str,
    now: DateTime<Utc>,
) -> Result<(), String> {
    // The library leaves it out: nobody else may get a token that was made for another client in here.
    if let Some(party) = claims.authorized_party()
        && party.as_str() != client_id
    {
        return Err(format!(
            "it was made for the client {:?} (azp), and this one is {client_id:?}",
            party.as_str()
        ));
    }
    if claims.issue_time() > now + SKEW {
        return Err("its iat is in the future: compare the clocks".to_owned());
    }
    let not_before = claims.additional_claims().members.get("nbf");
    if let Some(not_before) = not_before
        && !not_before
            .as_f64()
            .is_some_and(|seconds| seconds <= seconds_of(now + SKEW))
    {
        return Err("its nbf is in the future: compare the clocks".to_owned());
    }
    match claims.subject().len() {
        1..=LONGEST_SUBJECT => Ok(()),
        _ => Err(format!(
            "its sub is no text of 1 to {LONGEST_SUBJECT} bytes"
        )),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds of a calendar have an exact form"
)]
fn seconds_of(time: DateTime<Utc>) -> f64 {
    time.timestamp() as f64
}

#[cfg(test)]
mod tests;
