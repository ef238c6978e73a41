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
pub(super) struct StrangerTable {
    members: BTreeMap<u64, IpAddr>,
    branches: BTreeMap<Network, NetworkBranch>,
}

/// A network with strangers.
#[derive(Debug, Default)]
struct NetworkBranch {
    count: usize,
    /// Who came last.
    newest: u64,
    /// The narrower networks, by how many they have and how long ago they grew.
    narrower: BTreeSet<(usize, Reverse<u64>, Network)>,
    /// Of the narrowest networks: who is there, the oldest first.
    members: BTreeSet<u64>,
}

impl StrangerTable {
    /// Adds somebody; later comers have higher numbers.
    pub(super) fn add(&mut self, id: u64, address: IpAddr) {
        if self.members.insert(id, address).is_some() {
            return;
        }
        for (wide, narrow) in network_steps(address) {
            self.change_branch(wide, narrow, |branch| {
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
        for (wide, narrow) in network_steps(address) {
            self.change_branch(wide, narrow, |branch| branch.count -= 1);
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
    fn change_branch(
        &mut self,
        wide: Option<Network>,
        narrow: Network,
        change: impl FnOnce(&mut NetworkBranch),
    ) {
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
fn network_steps(address: IpAddr) -> [(Option<Network>, Network); 4] {
    let [wide, middle, narrow] = Network::around(address);
    [
        (Some(middle), narrow),
        (Some(wide), middle),
        (Some(Network::ALL), wide),
        (None, Network::ALL),
    ]
}

#[cfg(test)]
mod tests;
