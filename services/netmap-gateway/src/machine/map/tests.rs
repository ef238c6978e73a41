use super::*;

#[test]
fn addresses_that_no_peer_can_send_to_are_not_told() {
    for unusable in [
        "127.0.0.1:41641",
        "[::1]:41641",
        "0.0.0.0:41641",
        "[::]:41641",
        "224.0.0.1:41641",
        "[ff02::1]:41641",
        "255.255.255.255:41641",
        "192.0.2.1:0",
        "[::ffff:127.0.0.1]:41641",
        "[fe80::1]:41641",
        "[fe80::1%2]:41641",
        "192.0.2.1",
        "example.com:41641",
    ] {
        assert_eq!(parse_usable_endpoint(unusable), None, "{unusable}");
    }
    for address in ["192.0.2.1:41641", "10.0.0.1:1", "[2001:db8::1]:65535"] {
        let told = parse_usable_endpoint(address).map(|told| told.to_string());
        assert_eq!(told.as_deref(), Some(address));
    }
}
