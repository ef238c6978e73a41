use super::*;

fn around(address: &str) -> [String; WIDTHS] {
    Network::around(address.parse().expect("an address"))
        .map(|network| format!("{}/{}", network.first, network.bits))
}

#[test]
fn address_is_counted_in_networks_of_three_widths() {
    let expected = ["192.0.0.0/16", "192.0.2.0/24", "192.0.2.7/32"];
    assert_eq!(around("192.0.2.7"), expected);
    assert_eq!(
        around("::ffff:192.0.2.7"),
        expected,
        "the same in another form"
    );
    let expected = [
        "2001:db8:1::/48",
        "2001:db8:1:200::/56",
        "2001:db8:1:203::/64",
    ];
    assert_eq!(around("2001:db8:1:203:4::5"), expected);
}

#[test]
fn share_depends_on_the_width_and_is_never_too_small() {
    let shares = |address: &str, all| {
        Network::around(address.parse().expect("an address"))
            .map(|network| network.share_of(all, 16))
    };
    assert_eq!(shares("192.0.2.7", 16_384), [4096, 1024, 256]);
    assert_eq!(shares("2001:db8::1", 16_384), [256, 256, 256]);
    assert_eq!(shares("192.0.2.7", 160), [40, 16, 16]);
    assert_eq!(Network::ALL.share_of(160, 16), 160);
}
