use openidconnect::{
    PrivateSigningKey as _,
    core::{CoreEdDsaPrivateSigningKey, CoreHmacKey, CoreJsonWebKeySet},
};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://login.example.com";
const NOW: i64 = 1_800_000_000;

fn signing_key(seed: u8, name: &str) -> CoreEdDsaPrivateSigningKey {
    use base64::engine::general_purpose::STANDARD;

    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([seed; 32]);
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    );
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new(name.to_owned())))
        .unwrap()
}

fn keys_of_provider() -> CoreJsonWebKeySet {
    CoreJsonWebKeySet::new(vec![signing_key(1, "one").as_verification_key()])
}

fn good_claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": "bowline",
        "iat": NOW,
        "exp": NOW + 120,
        "jti": "token-1",
        "sub": "person-1",
        "sid": "session-1",
        "events": { LOGOUT_EVENT: {} },
    })
}

fn good_header() -> Value {
    json!({ "alg": "EdDSA", "kid": "one", "typ": "logout+jwt" })
}

fn sign(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let key = signing_key(1, "one");
    let signature = key.sign(&CoreJwsSigningAlgorithm::EdDsa, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
}

fn check_at(token: &str, seconds: i64) -> Result<ProviderLogout, LogoutTokenError> {
    let expectation = LogoutExpectation {
        issuer: ISSUER,
        client_id: "bowline",
        now: DateTime::from_timestamp(seconds, 0).unwrap(),
    };
    read_logout_token(token, &expectation)?.verify(&keys_of_provider())
}

fn check(token: &str) -> Result<ProviderLogout, LogoutTokenError> {
    check_at(token, NOW)
}

/// Checks a token with some claims replaced; null removes one.
fn check_with(changes: &Value) -> Result<ProviderLogout, LogoutTokenError> {
    let mut claims = good_claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    check(&sign(&good_header(), &claims))
}

fn refused_claim(changes: &Value) -> &'static str {
    match check_with(changes) {
        Err(LogoutTokenError::Claim { claim, .. }) => claim,
        other => panic!("{changes}: {other:?}"),
    }
}

#[test]
fn logout_of_the_provider_is_believed() {
    let logout = check(&sign(&good_header(), &good_claims())).unwrap();
    assert_eq!(logout.token_id, "token-1");
    assert_eq!(logout.subject.as_deref(), Some("person-1"));
    assert_eq!(logout.provider_session.as_deref(), Some("session-1"));
    assert_eq!(logout.replay_until.timestamp(), NOW + 360);

    let only_session = check_with(&json!({ "sub": null })).unwrap();
    assert_eq!(only_session.subject, None);
    let only_person = check_with(&json!({ "sid": null })).unwrap();
    assert_eq!(only_person.provider_session, None);
    for usual in [
        json!({ "aud": ["other", "bowline"] }),
        json!({ "exp": null }),
        json!({ "iat": 1.8e9 }),
        json!({ "events": { LOGOUT_EVENT: {}, "https://example.com/event": {} } }),
    ] {
        check_with(&usual).unwrap_or_else(|error| panic!("{usual}: {error}"));
    }
    for kind in ["logout+jwt", "JWT", "application/logout+JWT"] {
        let header = json!({ "alg": "EdDSA", "kid": "one", "typ": kind });
        check(&sign(&header, &good_claims())).unwrap();
    }
    check(&sign(&json!({ "alg": "EdDSA" }), &good_claims())).unwrap();
}

#[test]
fn every_claim_is_checked() {
    for (changes, claim) in [
        (json!({ "iss": "https://login.example.com/" }), "iss"),
        (json!({ "iss": null }), "iss"),
        (json!({ "iss": [ISSUER] }), "iss"),
        (json!({ "aud": "other" }), "aud"),
        (json!({ "aud": ["other"] }), "aud"),
        (json!({ "aud": [] }), "aud"),
        (json!({ "aud": null }), "aud"),
        (json!({ "iat": null }), "iat"),
        (json!({ "iat": "1800000000" }), "iat"),
        (json!({ "iat": NOW + 61 }), "iat"),
        (json!({ "iat": NOW - 301 }), "iat"),
        (json!({ "iat": i64::MAX }), "iat"),
        (json!({ "iat": 1e300 }), "iat"),
        (json!({ "iat": -1 }), "iat"),
        (json!({ "exp": NOW - 60 }), "exp"),
        (json!({ "exp": "never" }), "exp"),
        (json!({ "jti": null }), "jti"),
        (json!({ "jti": "" }), "jti"),
        (json!({ "jti": "x".repeat(513) }), "jti"),
        (json!({ "events": null }), "events"),
        (json!({ "events": {} }), "events"),
        (json!({ "events": [LOGOUT_EVENT] }), "events"),
        (json!({ "events": { LOGOUT_EVENT: true } }), "events"),
        (json!({ "events": { "http://other": {} } }), "events"),
        (json!({ "nonce": "n" }), "nonce"),
        (json!({ "nonce": 1 }), "nonce"),
        (json!({ "sub": null, "sid": null }), "sub"),
        (json!({ "sub": "" }), "sub"),
        (json!({ "sid": ["session-1"] }), "sid"),
    ] {
        assert_eq!(refused_claim(&changes), claim, "{changes}");
    }
}

#[test]
fn token_works_for_minutes_only() {
    let token = sign(&good_header(), &good_claims());
    check_at(&token, NOW - 60).unwrap();
    check_at(&token, NOW + 179).unwrap();
    check_at(&token, NOW + 180).unwrap_err();
    let mut endless = good_claims();
    endless["exp"] = json!(NOW * 2);
    let endless = sign(&good_header(), &endless);
    let last = check_at(&endless, NOW + 300).unwrap();
    check_at(&endless, NOW + 301).unwrap_err();
    assert!(
        last.replay_until.timestamp() > NOW + 300,
        "it is remembered longer than it works"
    );
}

#[test]
fn signature_is_the_providers_and_of_a_key_pair() {
    let unsigned = |header: &Value| {
        let token = sign(header, &good_claims());
        check(&token)
    };
    for algorithm in ["none", "HS256", "HS512", "ES512", "RSA-OAEP", ""] {
        let header = json!({ "alg": algorithm, "kid": "one" });
        assert!(
            matches!(unsigned(&header), Err(LogoutTokenError::Algorithm(_))),
            "{algorithm}"
        );
    }
    // A key of the provider that is for another algorithm.
    assert_eq!(
        unsigned(&json!({ "alg": "RS256", "kid": "one" })),
        Err(LogoutTokenError::UnknownKey)
    );
    assert_eq!(
        unsigned(&json!({ "alg": "EdDSA", "kid": "two" })),
        Err(LogoutTokenError::UnknownKey)
    );
    assert!(matches!(
        unsigned(&json!({ "alg": "EdDSA", "kid": "one", "typ": "at+jwt" })),
        Err(LogoutTokenError::Type(_))
    ));
    assert!(matches!(
        unsigned(&json!({ "alg": "EdDSA", "kid": "one", "crit": ["b64"], "b64": false })),
        Err(LogoutTokenError::Form(_))
    ));

    // The provider's public key as if it were a shared secret.
    let public = signing_key(1, "one").as_verification_key();
    let secret = serde_json::to_value(&public).unwrap()["x"]
        .as_str()
        .unwrap()
        .to_owned();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        encode(&json!({ "alg": "HS256", "kid": "one" })),
        encode(&good_claims())
    );
    let forged = CoreHmacKey::new(URL_SAFE_NO_PAD.decode(secret).unwrap());
    let signature = forged.sign(&CoreJwsSigningAlgorithm::HmacSha256, signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()));
    assert!(matches!(check(&token), Err(LogoutTokenError::Algorithm(_))));

    // Another person's name in a signed token; a key of somebody else under the provider's name.
    let token = sign(&good_header(), &good_claims());
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = rest.split_once('.').unwrap();
    let mut other = good_claims();
    other["sub"] = json!("person-2");
    let changed = format!("{header}.{}.{signature}", encode(&other));
    assert_eq!(check(&changed), Err(LogoutTokenError::Signature));
    let stranger = signing_key(2, "one").sign(&CoreJwsSigningAlgorithm::EdDsa, rest.as_bytes());
    let forged = format!("{rest}.{}", URL_SAFE_NO_PAD.encode(stranger.unwrap()));
    assert_eq!(check(&forged), Err(LogoutTokenError::Signature));
    assert_eq!(check(&format!("{rest}.")), Err(LogoutTokenError::Signature));
}

#[test]
fn key_for_encryption_signs_nothing() {
    let mut key = serde_json::to_value(signing_key(1, "one").as_verification_key()).unwrap();
    let token = sign(&good_header(), &good_claims());
    let expectation = LogoutExpectation {
        issuer: ISSUER,
        client_id: "bowline",
        now: DateTime::from_timestamp(NOW, 0).unwrap(),
    };
    let read = read_logout_token(&token, &expectation).unwrap();
    for (name, value) in [("use", "enc"), ("alg", "RS256")] {
        let before = key.clone();
        key[name] = value.into();
        let keys: CoreJsonWebKeySet = serde_json::from_value(json!({ "keys": [key] })).unwrap();
        assert_eq!(read.verify(&keys), Err(LogoutTokenError::UnknownKey));
        key = before;
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let long = "a".repeat(LONGEST_TOKEN + 1);
    let token = sign(&good_header(), &good_claims());
    let padded = format!("{token}=");
    let four = format!("{token}.x");
    let list = format!("{}.e30.", URL_SAFE_NO_PAD.encode("[]"));
    let twice = format!(
        "{}.{}.x",
        URL_SAFE_NO_PAD.encode(good_header().to_string()),
        URL_SAFE_NO_PAD.encode("[1]")
    );
    for text in ["", "a", "..", "a.b.c", &long, &padded, &four, &list, &twice] {
        assert!(
            matches!(check(text), Err(LogoutTokenError::Form(_))),
            "{}",
            text.chars().take(40).collect::<String>()
        );
    }
}
