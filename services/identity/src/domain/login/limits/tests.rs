use super::*;

#[test]
fn sources_are_counted_with_the_networks_around_them() {
    let of = |source| {
        let SourceNetworks { near, middle, far } = SourceNetworks::from_address(source);
        [near, middle, far]
    };
    assert_eq!(
        of("2001:db8:1:2ff::9"),
        [
            "2001:db8:1:2ff::/64",
            "2001:db8:1:200::/56",
            "2001:db8:1::/48"
        ]
    );
    assert_eq!(
        of("192.0.2.7"),
        ["192.0.2.7/32", "192.0.2.7/32", "192.0.2.0/24"]
    );
    assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
    assert_eq!(of("somewhere"), ["somewhere"; 3]);
}

#[test]
fn each_network_has_its_limit() {
    let waiting = |machine, networks| check_counts(PendingCounts { machine, networks });
    assert!(waiting(4, [49, 99, 199]).is_ok());
    for (machine, networks) in [
        (5, [0; 3]),
        (0, [50, 50, 50]),
        (0, [0, 100, 100]),
        (0, [0, 0, 200]),
    ] {
        assert!(
            waiting(machine, networks).is_err(),
            "{machine} {networks:?}"
        );
    }
}
