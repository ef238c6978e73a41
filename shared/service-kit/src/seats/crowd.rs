//! Strangers by the networks they come from, and which of them goes first. Pure.
//!
//! Whoever has most goes first: of the widest networks the fullest, in it the fullest narrower one, and so on down to
//! one address, and of that the oldest. Of equally full ones the one that grew longest ago. So a crowd from a few
//! networks displaces itself, and a newcomer from elsewhere is the last to go.
//!
//! Example: three of 192.0.2.1, two of 192.0.2.2, four of 198.51.100.9: the oldest of 198.51.100.9 goes first, then (three
//! against five in the /16) the oldest of 192.0.2.1.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::networks::Network;

/// Those who are there without being known.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    members: BTreeMap<u64, IpAddr>,
    branches: BTreeMap<Network, Branch>,
}

/// A network with strangers.
#[derive(Debug, Default)]
struct Branch {
    count: usize,
    /// Who came last.
    newest: u64,
    /// The narrower networks, by how many they have and how long ago they grew.
    narrower: BTreeSet<(usize, Reverse<u64>, Network)>,
    /// Of the narrowest networks: who is there, the oldest first.
    members: BTreeSet<u64>,
}

impl Crowd {
    /// Adds somebody; later comers have higher numbers.
    pub(super) fn add(&mut self, id: u64, address: IpAddr) {
        if self.members.insert(id, address).is_some() {
            return;
        }
        for (wide, narrow) in steps(address) {
            self.change(wide, narrow, |branch| {
                branch.count += 1;
                branch.newest = branch.newest.max(id);
            });
        }
        let narrowest = Network::narrowest(address);
        self.branches
            .entry(narrowest)
            .or_default()
            .members
            .insert(id);
    }

    /// Takes somebody out.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(address) = self.members.remove(&id) else {
            return;
        };
        let narrowest = Network::narrowest(address);
        if let Some(branch) = self.branches.get_mut(&narrowest) {
            branch.members.remove(&id);
        }
        for (wide, narrow) in steps(address) {
            self.change(wide, narrow, |branch| branch.count -= 1);
        }
    }

    /// Returns how many come from a network.
    pub(super) fn count(&self, network: Network) -> usize {
        self.branches.get(&network).map_or(0, |branch| branch.count)
    }

    /// Returns who goes first of those from a network.
    pub(super) fn first_to_go(&self, network: Network) -> Option<u64> {
        let mut branch = self.branches.get(&network)?;
        while let Some((_, _, narrower)) = branch.narrower.last() {
            branch = self.branches.get(narrower)?;
        }
        branch.members.first().copied()
    }

    /// Changes a network, and what the wider one around it knows of it.
    fn change(&mut self, wide: Option<Network>, narrow: Network, change: impl FnOnce(&mut Branch)) {
        let branch = self.branches.entry(narrow).or_default();
        let before = (branch.count, Reverse(branch.newest), narrow);
        change(branch);
        let after = (branch.count, Reverse(branch.newest), narrow);
        if after.0 == 0 {
            self.branches.remove(&narrow);
        }
        if let Some(wide) = wide {
            let around = &mut self.branches.entry(wide).or_default().narrower;
            around.remove(&before);
            if after.0 > 0 {
                around.insert(after);
            }
        }
    }
}

/// Returns the networks around an address, narrowest first, each after the wider one that it is in.
fn steps(address: IpAddr) -> [(Option<Network>, Network); 4] {
    let [wide, middle, narrow] = Network::around(address);
    [
        (Some(middle), narrow),
        (Some(wide), middle),
        (Some(Network::ALL), wide),
        (None, Network::ALL),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(addresses: &[&str]) -> Crowd {
        let mut crowd = Crowd::default();
        for (id, address) in (1..).zip(addresses) {
            crowd.add(id, address.parse().expect("an address"));
        }
        crowd
    }

    /// Returns all in the order they go.
    fn order(mut crowd: Crowd) -> Vec<u64> {
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
}
