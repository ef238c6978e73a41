use serde_json::{Value, json};

use super::*;

const CLIENT: &str = "bowline";

fn check(changes: &Value) -> Result<(), String> {
    let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
    let mut claims = json!({
        "iss": "https://login.example.com",
        "aud": CLIENT,
        "sub": "person-1",
        "iat": 1_000_000,
        "exp": 1_000_300,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    check_claims(&serde_json::from_value(claims).unwrap(), CLIENT, now)
}

#[test]
fn token_is_for_this_client_of_this_time_and_of_somebody() {
    for right in [
        json!({}),
        json!({ "azp": CLIENT }),
        json!({ "iat": 1_000_060, "nbf": 1_000_060 }),
        json!({ "iat": 0, "nbf": 0 }),
        json!({ "sub": "x".repeat(512) }),
    ] {
        assert_eq!(check(&right), Ok(()), "{right}");
    }
    for (wrong, words) in [
        (json!({ "azp": "other" }), "made for the client"),
        (json!({ "azp": "" }), "made for the client"),
        (json!({ "iat": 1_000_061 }), "iat is in the future"),
        (json!({ "nbf": 1_000_061 }), "nbf is in the future"),
        (json!({ "nbf": "tomorrow" }), "nbf is in the future"),
        (json!({ "sub": "" }), "its sub is no text"),
        (json!({ "sub": "x".repeat(513) }), "its sub is no text"),
    ] {
        let refused = check(&wrong).unwrap_err();
        assert!(refused.contains(words), "{wrong}: {refused}");
    }
}
