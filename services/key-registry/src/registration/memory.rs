//! What a process remembers from one registration to the next, so that a transaction asks less. Nothing of it is relied on: what a
//! node is given is looked up in the database, and where a count could be at a limit, nodes are counted.

use std::collections::BTreeMap;

use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use parking_lot::Mutex;

use crate::{
    domain::{
        address_pool::AddressPool, hostname, node_limits::CountedNodes,
        registrant_guess::RegistrantGuess,
    },
    error::RegistryError,
    store::nodes,
};

/// How many tailnets, labels of each, and counts are remembered. With more, all are forgotten.
const MOST_TAILNETS: usize = 10_000;
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
    /// The place in the address pool from which on none was given.
    next_place: u32,
    /// The number that the next node of a label is likely to have.
    numbers: BTreeMap<String, u64>,
}

impl RegistrationMemory {
    /// Guesses what a new node of a hostname is given.
    pub(super) fn guess(
        &self,
        tailnet_id: u64,
        pool: Option<AddressPool>,
        hostname: &str,
    ) -> RegistrantGuess {
        let tailnets = self.tailnets.lock();
        let Some(tailnet) = tailnets.get(&tailnet_id) else {
            return RegistrantGuess::new(pool, 1, hostname);
        };
        let mut guess = RegistrantGuess::new(pool, tailnet.next_place, hostname);
        if let Some(number) = tailnet.numbers.get(&guess.label) {
            guess.number = *number;
        }
        guess
    }

    /// Remembers from which place on no addresses of a tailnet's pool were given.
    pub(super) fn note_place(&self, tailnet_id: u64, next_place: u32) {
        self.change_tailnet(tailnet_id, |tailnet| tailnet.next_place = next_place);
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
