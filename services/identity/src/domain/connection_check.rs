//! What the steps of a test of a connection say: one line each, with what to do.

use bowline_oidc::ClientVerdict;
use bowline_proto::identity::v1::{ConnectionCheck, ConnectionCheckOutcome as Outcome};
use bowline_saml::{ProviderMetadata, SigningCertificate};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

/// How far the clocks of this machine and the provider's may differ.
const SKEW: TimeDelta = TimeDelta::seconds(60);
/// How long before its end a certificate or metadata is warned of.
const SOON: TimeDelta = TimeDelta::days(30);

/// Returns one step.
pub fn check(name: &str, outcome: Outcome, text: impl Into<String>) -> ConnectionCheck {
    ConnectionCheck {
        name: name.to_owned(),
        outcome: outcome.into(),
        text: text.into(),
    }
}

/// Compares this machine's clock with that of an answer's head.
pub fn check_clock(date: Option<&str>, now: DateTime<Utc>) -> ConnectionCheck {
    let name = "clock";
    let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let Some(date) = date.map(|date| date.to_utc()) else {
        return check(
            name,
            Outcome::Skipped,
            "the provider does not say what time it is",
        );
    };
    let off = now - date;
    if off.abs() <= SKEW {
        return check(
            name,
            Outcome::Ok,
            "this machine and the provider agree on the time",
        );
    }
    let (which, seconds) = (
        if off > TimeDelta::zero() {
            "ahead of"
        } else {
            "behind"
        },
        off.abs().num_seconds(),
    );
    let text = format!(
        "this machine is {seconds} seconds {which} the provider ({date}): set the clock that is wrong, for example with NTP"
    );
    check(name, Outcome::Failed, text)
}

/// Looks at what an OpenID Connect provider publishes of itself.
pub fn check_discovery(issuer: &str, document: &Value) -> Vec<ConnectionCheck> {
    let text = |name: &str| {
        document
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let mut checks = vec![match text("issuer") {
        found if found == issuer => check("issuer", Outcome::Ok, format!("it is {found}")),
        found => check(
            "issuer",
            Outcome::Failed,
            format!(
                "the provider calls itself \"{found}\", and this connection is to \"{issuer}\": make it with that --issuer, to the letter"
            ),
        ),
    }];
    let missing: Vec<_> = ["authorization_endpoint", "token_endpoint", "jwks_uri"]
        .into_iter()
        .filter(|name| text(name).is_empty())
        .collect();
    checks.push(match missing.is_empty() {
        true => check("endpoints", Outcome::Ok, "it has all that a login needs"),
        false => check(
            "endpoints",
            Outcome::Failed,
            format!(
                "it does not publish {}: is it an OpenID Connect provider?",
                missing.join(", ")
            ),
        ),
    });
    let list = |name: &str| -> Option<Vec<&str>> {
        let members = document.get(name)?.as_array()?;
        Some(members.iter().filter_map(Value::as_str).collect())
    };
    checks.push(match list("code_challenge_methods_supported") {
        Some(methods) if methods.contains(&"S256") => check("pkce", Outcome::Ok, "it knows PKCE with S256"),
        Some(_) => check("pkce", Outcome::Warning, "it does not say that it knows PKCE with S256: a code that is caught on the way could be used; switch it on at the provider"),
        None => check("pkce", Outcome::Skipped, "it does not say whether it knows PKCE"),
    });
    if let Some(algorithms) = list("id_token_signing_alg_values_supported") {
        let believed = [
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
        ];
        if !algorithms.iter().any(|one| believed.contains(one)) {
            let text = format!(
                "it signs with {} only: let it sign ID tokens with RS256 or ES256",
                algorithms.join(", ")
            );
            checks.push(check("signatures", Outcome::Failed, text));
        }
    }
    checks
}

/// Looks at the keys that an OpenID Connect provider signs with.
pub fn check_keys(document: &Value) -> ConnectionCheck {
    let keys = document.get("keys").and_then(Value::as_array);
    let signs = |key: &&Value| {
        let usage = key.get("use").and_then(Value::as_str);
        let kind = key.get("kty").and_then(Value::as_str);
        usage.is_none_or(|usage| usage == "sig") && kind.is_some_and(|kind| kind != "oct")
    };
    match keys.map_or(0, |keys| keys.iter().filter(signs).count()) {
        0 => check(
            "keys",
            Outcome::Failed,
            "it publishes no key to check signatures with",
        ),
        1 => check("keys", Outcome::Ok, "it publishes one key"),
        count => check("keys", Outcome::Ok, format!("it publishes {count} keys")),
    }
}

/// Says what a provider thinks of this server's id and secret.
pub fn check_client(verdict: ClientVerdict, has_secret: bool) -> ConnectionCheck {
    match verdict {
        ClientVerdict::Known if has_secret => {
            check("client", Outcome::Ok, "it takes the client id and secret")
        }
        ClientVerdict::Known => check(
            "client",
            Outcome::Ok,
            "it takes the client id; there is no secret",
        ),
        ClientVerdict::Refused(problem) => check(
            "client",
            Outcome::Failed,
            format!(
                "it does not take the client id or secret ({problem}): compare them with the provider's page; bowline connections set-secret"
            ),
        ),
        ClientVerdict::Unclear(problem) => check(
            "client",
            Outcome::Skipped,
            format!("the client id and secret can not be tried without a person ({problem})"),
        ),
    }
}

/// Says what the provider's login page answers to this server's id and address.
pub fn check_redirect(status: u16, location: &str, callback: &str) -> ConnectionCheck {
    let name = "redirect address";
    if status >= 400 || location.contains("error=") {
        let text = format!(
            "its login page refuses the client id or the address {callback} (status {status}): register that address there, to the letter"
        );
        return check(name, Outcome::Failed, text);
    }
    check(
        name,
        Outcome::Ok,
        format!("its login page takes {callback}"),
    )
}

/// Looks at the metadata of a SAML provider.
pub fn check_metadata(metadata: &ProviderMetadata, now: DateTime<Utc>) -> Vec<ConnectionCheck> {
    let mut checks = Vec::new();
    let usable: Vec<_> = metadata
        .certificates
        .iter()
        .filter(|one| one.key_kind().is_accepted())
        .collect();
    let ends = usable.iter().map(|one| one.validity().1).max();
    let count = usable.len();
    checks.push(match ends {
        Some(at) if at <= now => check("keys", Outcome::Warning, format!("the certificate of its newest key ended at {at}; answers are still believed. Expect the provider to change it")),
        Some(at) if at <= now + SOON => check("keys", Outcome::Warning, format!("the certificate of its newest key ends at {at}: expect a new one. With a metadata URL it is loaded by itself")),
        Some(at) => check("keys", Outcome::Ok, format!("it publishes {count}, the newest valid until {at}")),
        None => check("keys", Outcome::Failed, "it publishes no key that signatures are accepted of"),
    });
    if let Some(until) = metadata.valid_until {
        checks.push(match until {
            until if until <= now => check("metadata end", Outcome::Failed, format!("the metadata ended at {until}: give the new one, bowline connections set-metadata")),
            until if until <= now + TimeDelta::days(2) => check("metadata end", Outcome::Warning, format!("the metadata ends at {until}, and logins stop then")),
            until => check("metadata end", Outcome::Ok, format!("the metadata is valid until {until}")),
        });
    }
    let plain = metadata
        .single_sign_on
        .iter()
        .find(|one| !one.location.starts_with("https:"));
    checks.push(match plain {
        Some(one) => check(
            "endpoints",
            Outcome::Warning,
            format!("{} is reached without TLS", one.location),
        ),
        None => check("endpoints", Outcome::Ok, "people log in by HTTPS"),
    });
    checks
}

/// Looks at the certificate of the key that this server signs with.
pub fn check_own_key(certificate: &SigningCertificate, now: DateTime<Utc>) -> ConnectionCheck {
    let (_, at) = certificate.validity();
    let fingerprint = certificate.fingerprint();
    match at <= now + SOON {
        true => check(
            "own key",
            Outcome::Warning,
            format!(
                "the certificate of the key that signs here ends at {at}: bowline connections roll-key"
            ),
        ),
        false => check(
            "own key",
            Outcome::Ok,
            format!("requests are signed with {fingerprint}, valid until {at}"),
        ),
    }
}

#[cfg(test)]
mod tests;
