use serde_json::{Value, json};

use super::*;

fn published(issuer: &str, changes: &Value) -> Result<(), String> {
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    let metadata: Metadata = serde_json::from_value(document).unwrap();
    check_published(issuer, &metadata)
}

#[test]
fn endpoints_are_as_safe_as_the_issuer() {
    let (secure, local) = ("https://login.example.com", "http://127.0.0.1:8080");
    for issuer in [secure, local] {
        assert_eq!(published(issuer, &json!({})), Ok(()));
    }
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
    ] {
        for place in ["http://login.example.com/x", "javascript:alert(1)"] {
            let refused = published(secure, &json!({ name: place })).unwrap_err();
            assert_eq!(refused, format!("its {name} does not begin with https://"));
        }
        let refused = published(local, &json!({ name: "javascript:alert(1)" })).unwrap_err();
        assert_eq!(refused, format!("its {name} is no web address"));
        // Many providers have them on a host of their own.
        assert_eq!(
            published(secure, &json!({ name: "https://api.example.net/x" })),
            Ok(())
        );
    }
    let refused = published(secure, &json!({ "token_endpoint": null })).unwrap_err();
    assert_eq!(refused, "it publishes no token_endpoint");
}
