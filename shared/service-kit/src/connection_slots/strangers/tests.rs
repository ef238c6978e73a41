use super::*;

fn crowd(addresses: &[&str]) -> StrangerTable {
    let mut crowd = StrangerTable::default();
    for (id, address) in (1..).zip(addresses) {
        crowd.add(id, address.parse().expect("an address"));
    }
    crowd
}

/// Returns all in the order they go.
fn order(mut crowd: StrangerTable) -> Vec<u64> {
    let mut order = Vec::new();
    while let Some(id) = crowd.first_to_go(Network::ALL) {
        crowd.remove(id);
        order.push(id);
    }
    assert!(crowd.branches.is_empty() && crowd.members.is_empty());
    order
}

#[test]
fn fullest_network_goes_first_and_in_it_the_fullest_address_and_of_that_the_oldest() {
    let crowd = crowd(&[
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.2",
        "198.51.100.9",
    ]);
    assert_eq!(order(crowd), [1, 2, 4, 3, 5, 6]);
}

#[test]
fn networks_that_are_equally_full_go_in_the_order_they_grew() {
    let crowd = crowd(&["203.0.113.1", "192.0.2.1", "198.51.100.9"]);
    assert_eq!(order(crowd), [1, 2, 3]);
}

#[test]
fn whoever_is_in_one_network_can_be_asked_for() {
    let crowd = crowd(&["192.0.2.1", "192.0.2.2", "192.0.2.2", "198.51.100.9"]);
    let network = |address: &str| Network::narrowest(address.parse().expect("an address"));
    assert_eq!(crowd.first_to_go(network("198.51.100.9")), Some(4));
    assert_eq!(crowd.first_to_go(network("192.0.2.2")), Some(2));
    assert_eq!(crowd.first_to_go(network("192.0.2.9")), None);
    assert_eq!(crowd.count(network("192.0.2.2")), 2);
    assert_eq!(crowd.count(Network::ALL), 4);
}

#[test]
fn subnets_of_one_customer_are_weighed_together() {
    let crowd = crowd(&[
        "2001:db8:1:1::1",
        "2001:db8:1:2::1",
        "2001:db8:1:3::1",
        "2001:db8:2::1",
    ]);
    assert_eq!(order(crowd), [1, 2, 3, 4]);
}
