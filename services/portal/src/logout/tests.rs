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
