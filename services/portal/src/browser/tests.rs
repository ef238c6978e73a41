use axum::http::header;

use super::*;

fn headers(lines: &[&str]) -> HeaderMap {
    let lines = lines
        .iter()
        .map(|line| (header::COOKIE, line.parse().unwrap()));
    lines.collect()
}

fn sent_back(browser: &Browser, is_https: bool) -> String {
    let cookie = browser.cookie(is_https);
    let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
    pair.to_owned()
}

#[test]
fn browser_is_known_again_by_its_cookie() {
    let browser = Browser::read_or_make(&HeaderMap::new(), true);
    let pair = sent_back(&browser, true);
    let again = Browser::read(&headers(&["other=1", &format!("a=b; {pair}")]), true);
    assert_eq!(again.unwrap().hash(), browser.hash());
    assert!(
        Browser::read(&headers(&[&pair]), false).is_err(),
        "of TLS only"
    );
    for wrong in [
        "__Host-bowline-browser=",
        "__Host-bowline-browser=AAAA",
        "bowline-browser=x",
        "",
    ] {
        assert!(Browser::read(&headers(&[wrong]), true).is_err(), "{wrong}");
    }
}

#[test]
fn cookie_is_kept_from_scripts_and_other_sites() {
    let browser = Browser::read_or_make(&HeaderMap::new(), true);
    let cookie = browser.cookie(true);
    let text = cookie.to_str().unwrap();
    for part in ["__Host-", "HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Domain"));
}

#[test]
fn form_token_is_of_one_browser_and_one_attempt() {
    let (one, other) = (
        Browser::read_or_make(&HeaderMap::new(), true),
        Browser::read_or_make(&HeaderMap::new(), true),
    );
    let token = one.form_token("a");
    assert!(one.check_form_token("a", &token).is_ok());
    assert!(one.check_form_token("b", &token).is_err());
    assert!(other.check_form_token("a", &token).is_err());
    assert!(one.check_form_token("a", "").is_err());
}
