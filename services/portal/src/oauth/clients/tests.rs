use super::*;

fn read_request(headers: &HeaderMap, body: &str) -> Result<ClientRequest, OAuthFailure> {
    ClientRequest::read(headers, OAuthForm::read(headers, body)?)
}

fn headers(authorization: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    if let Some(value) = authorization {
        let value = HeaderValue::from_str(value).expect("a header");
        headers.insert(header::AUTHORIZATION, value);
    }
    headers
}

#[test]
fn secret_comes_by_basic_or_in_the_form() {
    let in_form =
        "grant_type=client_credentials&client_id=any&client_secret=s&scope=dns+users%3Aread";
    let request = read_request(&headers(None), in_form).expect("a request");
    assert_eq!(
        (&**request.secret, request.scopes),
        ("s", vec!["dns".to_owned(), "users:read".to_owned()])
    );
    let basic = format!("basic {}", STANDARD.encode("any:s"));
    let request = read_request(&headers(Some(&basic)), "grant_type=client_credentials");
    assert_eq!(&**request.expect("a request").secret, "s");
}

#[test]
fn wrong_requests_are_named_as_the_standard_does() {
    let basic = format!("Basic {}", STANDARD.encode("any:s"));
    let grant = "grant_type=client_credentials";
    for (authorization, body, error, status) in [
        (None, grant, "invalid_client", 401),
        (Some("Bearer x"), grant, "invalid_client", 401),
        (Some("Basic !"), grant, "invalid_client", 401),
        (
            Some(&*basic),
            "grant_type=client_credentials&client_secret=s",
            "invalid_request",
            400,
        ),
        (
            None,
            "grant_type=client_credentials&scope=a&scope=b",
            "invalid_request",
            400,
        ),
    ] {
        let failure = read_request(&headers(authorization), body).expect_err("a failure");
        assert_eq!(
            (failure.error, failure.status.as_u16()),
            (error, status),
            "{body}"
        );
    }
    let failure = read_request(&HeaderMap::new(), grant).expect_err("a failure");
    assert_eq!(failure.error, "invalid_request");
}
