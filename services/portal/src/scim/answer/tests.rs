use super::*;

#[test]
fn addresses_begin_with_the_public_one() {
    let body = r#"{"id":"7","meta":{"location":"/Groups/7"},"members":[{"value":"3","$ref":"/Users/3"}],"displayName":"/x"}"#;
    let read = read_body("https://b.example.com/scim/v2", body).expect("a resource");
    let wanted = json!({
        "id": "7",
        "meta": { "location": "https://b.example.com/scim/v2/Groups/7" },
        "members": [{ "value": "3", "$ref": "https://b.example.com/scim/v2/Users/3" }],
        "displayName": "/x",
    });
    assert_eq!(read, wanted);
}

#[test]
fn errors_are_named_as_the_standard_does() {
    let failure = ScimFailure::from(ScimError::new(ScimErrorKind::Uniqueness, "taken"));
    assert_eq!(failure.status, StatusCode::CONFLICT);
    let body = failure.to_body();
    assert_eq!(
        (&body["scimType"], &body["status"]),
        (&json!("uniqueness"), &json!("409"))
    );
    let response = ScimFailure::from(Status::unauthenticated("no token")).into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    let kind = response.headers().get(header::CONTENT_TYPE);
    assert_eq!(kind.expect("a kind"), "application/scim+json");
}
