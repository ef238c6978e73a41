use super::*;

#[test]
fn url_says_where_a_server_is() {
    let place = ServerPlace::parse("https://vpn.example.com").unwrap();
    assert_eq!((&*place.host, place.port), ("vpn.example.com", 443));
    let place = ServerPlace::parse("http://[::1]:8080/").unwrap();
    assert_eq!((&*place.host, place.port), ("::1", 8080));
    assert_eq!(place.authority, "[::1]:8080");
    for wrong in [
        "vpn.example.com",
        "ftp://vpn.example.com",
        "https://vpn.example.com/vpn",
    ] {
        assert!(ServerPlace::parse(wrong).is_err(), "{wrong}");
    }
}
