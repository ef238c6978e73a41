use super::*;

#[test]
fn process_that_listens_everywhere_is_asked_on_loopback() {
    for (listen, asked) in [
        ("0.0.0.0:9101", "127.0.0.1:9101"),
        ("[::]:9101", "[::1]:9101"),
        ("10.0.0.7:9101", "10.0.0.7:9101"),
    ] {
        let address = reachable_address(listen.parse().unwrap());
        assert_eq!(address, asked.parse().unwrap());
    }
}
