use super::*;

#[test]
fn each_address_of_a_host_is_a_place_of_its_own_and_stays_one() {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(lease_slot(address(1)), lease_slot(address(1)));
    assert_ne!(lease_slot(address(1)), lease_slot(address(2)));
    assert!(lease_slot(address(u16::MAX)).len() <= 100);
}
