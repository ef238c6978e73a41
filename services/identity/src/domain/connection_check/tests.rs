use serde_json::json;

use super::*;

fn outcome(check: &ConnectionCheck) -> Outcome {
    check.outcome()
}

#[test]
fn clock_that_is_off_is_named_with_its_seconds() {
    let now: DateTime<Utc> = "2026-11-27T12:00:00Z".parse().unwrap();
    let right = check_clock(Some("Fri, 27 Nov 2026 11:59:30 GMT"), now);
    assert_eq!(outcome(&right), Outcome::Ok);
    let wrong = check_clock(Some("Fri, 27 Nov 2026 11:50:00 GMT"), now);
    assert_eq!(outcome(&wrong), Outcome::Failed);
    assert!(
        wrong.text.contains("600 seconds ahead of"),
        "{}",
        wrong.text
    );
    let wrong = check_clock(Some("Fri, 27 Nov 2026 12:10:00 GMT"), now);
    assert!(wrong.text.contains("600 seconds behind"), "{}", wrong.text);
    assert_eq!(outcome(&check_clock(None, now)), Outcome::Skipped);
}

#[test]
fn issuer_endpoints_and_keys_are_compared() {
    let document = json!({
        "issuer": "https://login.example.com/",
        "authorization_endpoint": "https://login.example.com/authorize",
        "jwks_uri": "https://login.example.com/keys",
        "code_challenge_methods_supported": ["plain"],
        "id_token_signing_alg_values_supported": ["HS256"],
    });
    let checks = check_discovery("https://login.example.com", &document);
    let said: Vec<_> = checks
        .iter()
        .map(|one| (&*one.name, outcome(one)))
        .collect();
    let expected = [
        ("issuer", Outcome::Failed),
        ("endpoints", Outcome::Failed),
        ("pkce", Outcome::Warning),
        ("signatures", Outcome::Failed),
    ];
    assert_eq!(said, expected);
    assert!(
        checks[1].text.contains("token_endpoint"),
        "{}",
        checks[1].text
    );
    let none = json!({ "keys": [{ "kty": "oct" }, { "kty": "RSA", "use": "enc" }] });
    assert_eq!(outcome(&check_keys(&none)), Outcome::Failed);
    let some = json!({ "keys": [{ "kty": "RSA", "use": "sig" }] });
    assert_eq!(outcome(&check_keys(&some)), Outcome::Ok);
    assert_eq!(outcome(&check_keys(&Value::Null)), Outcome::Failed);
}

#[test]
fn client_and_redirect_address_that_are_refused_say_what_to_do() {
    let refused = check_client(ClientVerdict::Refused("invalid_client".to_owned()), true);
    assert_eq!(outcome(&refused), Outcome::Failed);
    assert!(refused.text.contains("set-secret"), "{}", refused.text);
    let address = "https://bowline.example/login/callback";
    assert_eq!(outcome(&check_redirect(400, "", address)), Outcome::Failed);
    let sent_back = format!("{address}?error=unauthorized_client");
    assert_eq!(
        outcome(&check_redirect(302, &sent_back, address)),
        Outcome::Failed
    );
    assert_eq!(outcome(&check_redirect(200, "", address)), Outcome::Ok);
}
