use super::*;

#[test]
fn secrets_are_never_shown() {
    let secret = "bowline-auth-1-2".to_owned();
    let request = RegisterRequest {
        pre_auth_key: secret.clone(),
        login_id: secret.clone(),
        hostname: "laptop".to_owned(),
        ..RegisterRequest::default()
    };
    let made = CreatePreAuthKeyResponse {
        secret: secret.clone(),
        ..CreatePreAuthKeyResponse::default()
    };
    for text in [format!("{request:?}"), format!("{made:?}")] {
        assert!(!text.contains(&secret) && text.contains(REDACTED), "{text}");
    }
}
