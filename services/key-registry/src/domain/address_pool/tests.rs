use super::*;

fn used(addresses: &[&str]) -> BTreeSet<IpAddr> {
    let addresses = addresses.iter().map(|address| address.parse());
    addresses.collect::<Result<_, _>>().unwrap()
}

#[test]
fn first_node_gets_the_first_addresses() {
    let pool = AddressPool::parse("100.64.0.0/10", "fd7a:115c:a1e0::/64").unwrap();
    let place = pool.next_place(0).unwrap();
    let AddressPair { ipv4, ipv6 } = pool.pair_at(place).unwrap();
    assert_eq!(
        (ipv4.to_string(), ipv6.to_string()),
        ("100.64.0.1".into(), "fd7a:115c:a1e0::1".into())
    );
}

#[test]
fn reserved_blocks_are_skipped() {
    let pool = AddressPool::parse("100.64.0.0/10", "fd7a:115c:a1e0::/64").unwrap();
    let to = |a: Ipv4Addr| u32::from(a) - u32::from(Ipv4Addr::new(100, 64, 0, 0));
    let place = pool.next_place(to(Ipv4Addr::new(100, 115, 92, 0))).unwrap();
    assert_eq!(
        pool.pair_at(place).unwrap().ipv4,
        Ipv4Addr::new(100, 115, 94, 0)
    );
}

#[test]
fn policy_can_choose_the_pool() {
    let pool = AddressPool::parse("100.64.0.0/24", "fd7a:115c:a1e0::/64").unwrap();
    let inside = ["100.64.0.8/29".parse().unwrap()];
    let one = used(&["100.64.0.9"]);
    let AddressPair { ipv4, ipv6 } = pool.free_pair_within(&inside, &one).unwrap();
    assert_eq!(
        (ipv4.to_string(), ipv6.to_string()),
        ("100.64.0.8".into(), "fd7a:115c:a1e0::8".into())
    );
    let first = used(&["100.64.0.8", "100.64.0.9"]);
    assert_eq!(
        pool.free_pair_within(&inside, &first).unwrap().ipv4,
        Ipv4Addr::new(100, 64, 0, 10)
    );
    let outside = ["100.81.0.0/31".parse().unwrap()];
    let AddressPair { ipv4, ipv6 } = pool
        .free_pair_within(&outside, &used(&["100.81.0.0"]))
        .unwrap();
    assert_eq!(ipv4.to_string(), "100.81.0.1");
    assert_eq!(ipv6.to_string(), "fd7a:115c:a1e0::1:6451:1");
    let both = used(&["100.81.0.0", "100.81.0.1"]);
    assert_eq!(pool.free_pair_within(&outside, &both), None);
}

#[test]
fn each_address_of_a_wanted_pool_is_ordinary() {
    let pool = AddressPool::parse("100.64.0.0/24", "fd7a:115c:a1e0::/64").unwrap();
    for (wanted, count) in [
        ("100.81.0.1/32", 1),
        ("100.81.0.0/31", 2),
        ("100.81.0.0/30", 4),
        ("100.64.0.0/32", 1),
        ("100.64.0.255/32", 1),
        ("100.64.0.252/30", 4),
        ("100.100.100.100/32", 0),
    ] {
        let wanted = [wanted.parse().unwrap()];
        let mut given = BTreeSet::new();
        while let Some(AddressPair { ipv4, ipv6 }) = pool.free_pair_within(&wanted, &given) {
            given.extend([IpAddr::from(ipv4), IpAddr::from(ipv6)]);
        }
        assert_eq!(given.len(), 2 * count, "{wanted:?}");
        assert!(!given.contains(&"fd7a:115c:a1e0::".parse::<IpAddr>().unwrap()));
    }
}

#[test]
fn empty_pool_is_said_and_does_not_spin() {
    let pool = AddressPool::parse("100.64.0.0/30", "fd7a:115c:a1e0::/64").unwrap();
    assert_eq!(pool.next_place(3), None);
    assert_eq!(pool.free_place(&used(&["100.64.0.1", "100.64.0.2"])), None);
    assert_eq!(pool.free_place(&used(&["100.64.0.1"])), Some(2));
}

#[test]
fn moved_pool_gives_no_ipv6_address_again() {
    let pool = AddressPool::parse("100.65.0.0/30", "fd7a:115c:a1e0::/64").unwrap();
    let elsewhere = used(&["100.64.0.1", "fd7a:115c:a1e0::1"]);
    assert_eq!(pool.free_place(&elsewhere), Some(2));
    let wanted = ["100.65.0.0/30".parse().unwrap()];
    let AddressPair { ipv4, ipv6 } = pool.free_pair_within(&wanted, &elsewhere).unwrap();
    assert_eq!(ipv4.to_string(), "100.65.0.0");
    assert!(!elsewhere.contains(&ipv6.into()));
}
