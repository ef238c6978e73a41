//! A bounded amount that many share, such as memory or places in a queue.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

/// A bounded amount that many share. A holder has one part or several, such as the networks an address is in, each with
/// a bound of its own.
#[derive(Debug)]
pub(crate) struct Quota<K> {
    all: usize,
    held: Mutex<QuotaUse<K>>,
}

#[derive(Debug)]
struct QuotaUse<K> {
    all: usize,
    each: BTreeMap<K, usize>,
}

/// What one holder has of a quota, given back when dropped.
#[derive(Debug)]
pub(crate) struct QuotaShare<K: Ord> {
    quota: Arc<Quota<K>>,
    /// The parts, and the most each may hold.
    parts: Vec<(K, usize)>,
    amount: usize,
}

impl<K: Ord + Clone> Quota<K> {
    /// Returns a quota of `all`.
    pub(crate) fn new(all: usize) -> Arc<Self> {
        let held = QuotaUse {
            all: 0,
            each: BTreeMap::new(),
        };
        Arc::new(Self {
            all,
            held: Mutex::new(held),
        })
    }

    /// Returns a share of nothing yet, of a holder with these parts.
    pub(crate) fn share(self: &Arc<Self>, parts: Vec<(K, usize)>) -> QuotaShare<K> {
        QuotaShare {
            quota: Arc::clone(self),
            parts,
            amount: 0,
        }
    }

    fn lock_use(&self) -> MutexGuard<'_, QuotaUse<K>> {
        self.held.lock()
    }
}

impl<K: Ord + Clone> QuotaShare<K> {
    /// Takes `more`; `false`, and nothing is taken, when too little is left.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let mut held = self.quota.lock_use();
        let is_full =
            |(part, most): &(K, usize)| held.each.get(part).copied().unwrap_or(0) + more > *most;
        if held.all + more > self.quota.all || self.parts.iter().any(is_full) {
            return false;
        }
        held.all += more;
        for (part, _) in &self.parts {
            *held.each.entry(part.clone()).or_default() += more;
        }
        self.amount += more;
        true
    }
}

impl<K: Ord> Drop for QuotaShare<K> {
    fn drop(&mut self) {
        let mut held = self.quota.held.lock();
        held.all -= self.amount;
        for (part, _) in &self.parts {
            if let Some(amount) = held.each.get_mut(part) {
                *amount -= self.amount;
                if *amount == 0 {
                    held.each.remove(part);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
