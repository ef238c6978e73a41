use super::*;

#[test]
fn session_is_known_again_by_its_cookie() {
    let set = set_cookie("bowline-session-1", true);
    let text = set.to_str().unwrap();
    for part in ["__Host-", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let (pair, _) = text.split_once(';').unwrap();
    let headers = [(header::COOKIE, pair.parse().unwrap())];
    let headers: HeaderMap = headers.into_iter().collect();
    let read = read_secret(&headers, true);
    assert_eq!(
        read.as_deref().map(String::as_str),
        Some("bowline-session-1")
    );
    assert_eq!(read_secret(&headers, false), None, "of TLS only");
    let gone = set_cookie("", true);
    assert!(gone.to_str().unwrap().contains("Max-Age=0"));
}
