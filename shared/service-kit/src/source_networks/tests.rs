use super::*;

#[test]
fn networks_and_addresses_are_read_and_what_is_none_is_refused() {
    for (text, read) in [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8::/48", "2001:db8::/48"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ] {
        assert_eq!(read_network(text).unwrap().to_string(), read);
    }
    for text in ["", "office", "192.0.2.0/33", "192.0.2", "2001:db8::/129"] {
        let problem = read_network(text).unwrap_err();
        assert!(
            problem.ends_with("is no network such as 192.0.2.0/24"),
            "{problem}"
        );
    }
    for text in ["2001:db8::5", "2001:db8::/65"] {
        let problem = read_network(text).unwrap_err();
        assert!(problem.ends_with("give its /64"), "{problem}");
    }
}

#[test]
fn address_is_looked_for_in_each_network() {
    let networks = ["10.0.0.0/8", "2001:db8:7::/64"].map(str::to_owned);
    for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:7::"] {
        assert!(networks_include(&networks, inside), "{inside}");
    }
    for outside in ["11.0.0.1", "2001:db8:8::", "", "10.1.2.3:80"] {
        assert!(!networks_include(&networks, outside), "{outside}");
    }
    assert!(!networks_include(&[], "10.1.2.3"));
}
