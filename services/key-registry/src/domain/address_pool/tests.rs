use super::*;

fn pool(ipv4: &str) -> AddressPool {
    AddressPool::parse(ipv4, "fd7a:115c:a1e0::/64").unwrap()
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Returns all pairs of ranges that may be given, in order.
fn list_pairs(pool: AddressPool, ranges: impl IntoIterator<Item = AddressRange>) -> Vec<String> {
    let numbers = ranges.into_iter().flatten();
    let addresses = numbers.map(|number| Ipv4Addr::from(u32::try_from(number).unwrap()));
    let pairs = addresses.filter_map(|ipv4| pool.pair_for(ipv4));
    pairs
        .map(|pair| format!("{} {}", pair.ipv4, pair.ipv6))
        .collect()
}

#[test]
fn first_node_gets_the_first_addresses() {
    let pool = pool("100.64.0.0/10");
    for next in [0, 1] {
        let pair = pool.first_pair_of(&pool.ranges_from(next)).unwrap();
        assert_eq!(pair.ipv4, address("100.64.0.1"));
        assert_eq!(pair.ipv6.to_string(), "fd7a:115c:a1e0::1");
        assert_eq!(pool.place_behind(pair.ipv4), 2);
    }
}

#[test]
fn reserved_blocks_are_skipped() {
    let pool = pool("100.64.0.0/10");
    let next = pool.place_behind(address("100.115.91.255"));
    let pair = pool.first_pair_of(&pool.ranges_from(next)).unwrap();
    assert_eq!(pair.ipv4, address("100.115.94.0"));
}

#[test]
fn pool_is_looked_through_once_from_any_place_on() {
    let pool = pool("100.64.0.0/29");
    let number = |last: u32| format!("100.64.0.{last} fd7a:115c:a1e0::{last}");
    for (next, expected) in [
        (0, [1, 2, 3, 4, 5, 6]),
        (1, [1, 2, 3, 4, 5, 6]),
        (5, [5, 6, 1, 2, 3, 4]),
        (6, [6, 1, 2, 3, 4, 5]),
        (7, [1, 2, 3, 4, 5, 6]),
        (8, [1, 2, 3, 4, 5, 6]),
        (u32::MAX, [1, 2, 3, 4, 5, 6]),
    ] {
        let found = list_pairs(pool, pool.ranges_from(next));
        assert_eq!(found, expected.map(number), "from {next}");
    }
}

#[test]
fn pool_without_places_is_empty() {
    for (ipv4, count) in [
        ("100.64.0.0/30", 2),
        ("100.64.0.0/31", 0),
        ("100.64.0.0/32", 0),
        ("255.255.255.255/32", 0),
        ("0.0.0.0/32", 0),
    ] {
        let pool = pool(ipv4);
        for next in [0, 1, 2, u32::MAX] {
            let found = list_pairs(pool, pool.ranges_from(next));
            assert_eq!(found.len(), count, "{ipv4} from {next}");
        }
    }
}

#[test]
fn policy_can_choose_the_pool() {
    let pool = pool("100.64.0.0/24");
    let inside = wanted_ranges(&["100.64.0.8/31".parse().unwrap()], None);
    assert_eq!(
        list_pairs(pool, inside),
        [
            "100.64.0.8 fd7a:115c:a1e0::8",
            "100.64.0.9 fd7a:115c:a1e0::9"
        ]
    );
    let outside = wanted_ranges(&["100.81.0.0/31".parse().unwrap()], None);
    assert_eq!(
        list_pairs(pool, outside),
        [
            "100.81.0.0 fd7a:115c:a1e0::1:6451:0",
            "100.81.0.1 fd7a:115c:a1e0::1:6451:1"
        ]
    );
}

#[test]
fn each_address_of_a_wanted_pool_is_ordinary() {
    let pool = pool("100.64.0.0/24");
    for (wanted, count) in [
        ("100.81.0.1/32", 1),
        ("100.81.0.0/31", 2),
        ("100.81.0.0/30", 4),
        ("100.64.0.0/32", 1),
        ("100.64.0.255/32", 1),
        ("100.64.0.252/30", 4),
        ("255.255.255.255/32", 1),
        ("100.100.100.100/32", 0),
    ] {
        let found = list_pairs(pool, wanted_ranges(&[wanted.parse().unwrap()], None));
        assert_eq!(found.len(), count, "{wanted}");
        assert!(!found.iter().any(|pair| pair.ends_with(" fd7a:115c:a1e0::")));
    }
}

#[test]
fn wanted_pools_are_looked_through_once_behind_the_address_given_last() {
    let pools = ["100.81.0.0/31", "100.83.0.0/31", "100.82.0.0/31"];
    let wanted = pools.map(|pool| pool.parse().unwrap());
    for (last_given, expected) in [
        (
            None,
            ["81.0.0", "81.0.1", "83.0.0", "83.0.1", "82.0.0", "82.0.1"],
        ),
        (
            Some("100.81.0.0"),
            ["81.0.1", "83.0.0", "83.0.1", "82.0.0", "82.0.1", "81.0.0"],
        ),
        (
            Some("100.83.0.1"),
            ["82.0.0", "82.0.1", "81.0.0", "81.0.1", "83.0.0", "83.0.1"],
        ),
        (
            Some("100.82.0.1"),
            ["81.0.0", "81.0.1", "83.0.0", "83.0.1", "82.0.0", "82.0.1"],
        ),
        (
            Some("100.84.0.1"),
            ["81.0.0", "81.0.1", "83.0.0", "83.0.1", "82.0.0", "82.0.1"],
        ),
    ] {
        let ranges = wanted_ranges(&wanted, last_given.map(address));
        let found = list_pairs(pool("100.64.0.0/10"), ranges);
        let found: Vec<_> = found
            .iter()
            .map(|pair| pair.split(' ').next().unwrap())
            .collect();
        let expected = expected.map(|rest| format!("100.{rest}"));
        assert_eq!(found, expected, "behind {last_given:?}");
    }
}
