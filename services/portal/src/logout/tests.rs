use super::*;

#[test]
fn token_is_a_field_that_is_there_once() {
    assert_eq!(read_token("logout_token=a.b.c").as_deref(), Some("a.b.c"));
    let beside = "x=1&logout_token=a%2Eb.c&y=";
    assert_eq!(read_token(beside).as_deref(), Some("a.b.c"));
    for body in [
        "",
        "token=a",
        "logout_token=a&logout_token=b",
        "{\"logout_token\":\"a\"}",
    ] {
        assert_eq!(read_token(body), None, "{body}");
    }
}

#[test]
fn wrong_tokens_of_one_network_are_paced() {
    let (limits, now) = (
        LogoutLimits::default(),
        tokio::time::Instant::now().into_std(),
    );
    let network = IpAddr::from([192, 0, 2, 1]);
    for _ in 0..20 {
        take_try(&limits, network, now).unwrap();
    }
    take_try(&limits, network, now).unwrap_err();
    take_try(&limits, IpAddr::from([192, 0, 2, 2]), now).unwrap();
    take_try(&limits, network, now + Duration::from_secs(5)).unwrap();
}
