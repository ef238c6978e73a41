//! What a process remembers from one registration to the next, so that a transaction asks less. Nothing of it is relied on: what a
//! node is given is looked up in the database, and where a count could be at a limit, nodes are counted.

use std::{collections::BTreeMap, net::Ipv4Addr};

use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use ipnet::Ipv4Net;
use parking_lot::Mutex;

use crate::{
    domain::{
        address_pool::{AddressPair, AddressPool, AddressRange, wanted_ranges},
        hostname,
        node_limits::CountedNodes,
        registrant_guess::RegistrantGuess,
    },
    error::RegistryError,
    store::nodes,
};

/// How many tailnets, wanted pools and labels of each, and counts are remembered. With more, all are forgotten.
const MOST_TAILNETS: usize = 10_000;
const MOST_POOLS: usize = 1_000;
const MOST_LABELS: usize = 10_000;
const MOST_COUNTS: usize = 100_000;

/// What a process remembers from one registration to the next.
#[derive(Debug, Default)]
pub(super) struct RegistrationMemory {
    tailnets: Mutex<BTreeMap<u64, TailnetMemory>>,
    /// How many nodes tailnets and one of their users had.
    counts: Mutex<BTreeMap<(TailnetId, u64), CountedNodes>>,
}

#[derive(Debug, Default)]
struct TailnetMemory {
    /// The place in the address pool from which on free addresses are looked for.
    next_place: u32,
    /// The address that was given last of those that a policy wants.
    last_given: BTreeMap<Vec<Ipv4Net>, Ipv4Addr>,
    /// The number that the next node of a label is likely to have.
    numbers: BTreeMap<String, u64>,
}

impl RegistrationMemory {
    /// Guesses what a new node of a hostname is given, with an address of the pools that a policy wants, where it wants any.
    pub(super) fn guess(
        &self,
        tailnet_id: u64,
        pool: Option<AddressPool>,
        wanted: &[Ipv4Net],
        hostname: &str,
    ) -> RegistrantGuess {
        let pair = pool.and_then(|pool| self.guess_pair(tailnet_id, pool, wanted));
        let mut guess = RegistrantGuess::new(pair, hostname);
        let tailnets = self.tailnets.lock();
        let number = tailnets
            .get(&tailnet_id)
            .and_then(|tailnet| tailnet.numbers.get(&guess.label));
        if let Some(number) = number {
            guess.number = *number;
        }
        guess
    }

    fn guess_pair(
        &self,
        tailnet_id: u64,
        pool: AddressPool,
        wanted: &[Ipv4Net],
    ) -> Option<AddressPair> {
        if !wanted.is_empty() {
            return pool.first_pair_of(&self.wanted_ranges(tailnet_id, wanted));
        }
        let tailnets = self.tailnets.lock();
        let next_place = tailnets
            .get(&tailnet_id)
            .map_or(1, |tailnet| tailnet.next_place);
        pool.first_pair_of(&pool.ranges_from(next_place))
    }

    /// Returns where a free address is looked for that a policy wants.
    pub(super) fn wanted_ranges(&self, tailnet_id: u64, wanted: &[Ipv4Net]) -> Vec<AddressRange> {
        let tailnets = self.tailnets.lock();
        let tailnet = tailnets.get(&tailnet_id);
        let last_given = tailnet.and_then(|tailnet| tailnet.last_given.get(wanted));
        wanted_ranges(wanted, last_given.copied())
    }

    /// Remembers from which place on free addresses of a tailnet's pool are looked for.
    pub(super) fn note_place(&self, tailnet_id: u64, next_place: u32) {
        self.change_tailnet(tailnet_id, |tailnet| tailnet.next_place = next_place);
    }

    /// Remembers an address that a policy wanted and that was given.
    pub(super) fn note_wanted(&self, tailnet_id: u64, wanted: &[Ipv4Net], given: Ipv4Addr) {
        self.change_tailnet(tailnet_id, |tailnet| {
            if tailnet.last_given.len() >= MOST_POOLS {
                tailnet.last_given.clear();
            }
            tailnet.last_given.insert(wanted.to_vec(), given);
        });
    }

    /// Remembers the name that a node with a label was given.
    pub(super) fn note_name(&self, tailnet_id: u64, label: &str, name: &str) {
        let number = hostname::derived_number(name, label).unwrap_or(0);
        // Of names that nobody else wants, nothing has to be remembered.
        if number == 0 {
            return;
        }
        self.change_tailnet(tailnet_id, |tailnet| {
            if tailnet.numbers.len() >= MOST_LABELS {
                tailnet.numbers.clear();
            }
            tailnet.numbers.insert(label.to_owned(), number + 1);
        });
    }

    fn change_tailnet(&self, tailnet_id: u64, change: impl FnOnce(&mut TailnetMemory)) {
        let mut tailnets = self.tailnets.lock();
        if tailnets.len() >= MOST_TAILNETS && !tailnets.contains_key(&tailnet_id) {
            tailnets.clear();
        }
        change(tailnets.entry(tailnet_id).or_default());
    }

    /// Returns how many nodes a tailnet and one of its users had at a revision: as remembered, or counted now.
    pub(super) async fn count_nodes(
        &self,
        log: &ChangeLog,
        tailnet: TailnetId,
        user_id: u64,
    ) -> Result<CountedNodes, RegistryError> {
        let remembered = self.counts.lock().get(&(tailnet, user_id)).copied();
        if let Some(counted) = remembered {
            return Ok(counted);
        }
        // The revision is read first: nodes that come meanwhile are counted twice, which is on the safe side.
        let heads = log.heads(&[tailnet]).await?;
        let revision = heads.first().map_or(0, |head| head.revision.get());
        let mut on = log.database().reader().acquire().await?;
        let counts = nodes::count_nodes(&mut on, tailnet.get(), user_id).await?;
        let counted = CountedNodes { revision, counts };
        let mut remembered = self.counts.lock();
        if remembered.len() >= MOST_COUNTS {
            remembered.clear();
        }
        remembered.insert((tailnet, user_id), counted);
        Ok(counted)
    }

    /// Forgets a count that says too little by now.
    pub(super) fn forget_count(&self, tailnet: TailnetId, user_id: u64) {
        self.counts.lock().remove(&(tailnet, user_id));
    }
}

#[cfg(test)]
mod tests;
