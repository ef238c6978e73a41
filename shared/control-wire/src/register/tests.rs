use super::*;

#[test]
fn auth_key_is_not_shown_and_is_wiped() {
    fn is_wiped<T: ZeroizeOnDrop>(_: &T) {}
    let auth = RegisterAuth {
        auth_key: "secret".to_owned(),
    };
    is_wiped(&auth);
    let request = RegisterRequest {
        auth: Some(auth),
        ..RegisterRequest::default()
    };
    assert!(!format!("{request:#?}").contains("secret"));
}
