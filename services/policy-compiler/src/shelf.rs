//! Versions that were read lately, at hand for whoever asks again: a version never changes.

use std::{collections::VecDeque, sync::Arc};

use bowline_ids::TailnetId;
use bowline_policy::Policy;

/// The most bytes of documents whose policies are kept, and the most of them.
const MOST_BYTES: usize = 32 << 20;
const MOST: usize = 1024;

/// Policies by tailnet and version, the one read last at the end.
#[derive(Debug, Default)]
pub struct Shelf {
    kept: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    of: (TailnetId, u64),
    policy: Arc<Policy>,
    bytes: usize,
}

impl Shelf {
    /// Returns a version's policy, if it is here.
    pub fn get(&mut self, tailnet: TailnetId, version: u64) -> Option<Arc<Policy>> {
        let at = self
            .kept
            .iter()
            .position(|kept| kept.of == (tailnet, version))?;
        let found = self.kept.remove(at)?;
        let policy = Arc::clone(&found.policy);
        self.kept.push_back(found);
        Some(policy)
    }

    /// Keeps a version's policy, read from a document of so many bytes; older ones make room.
    pub fn put(&mut self, tailnet: TailnetId, version: u64, policy: &Arc<Policy>, bytes: usize) {
        if bytes > MOST_BYTES || self.get(tailnet, version).is_some() {
            return;
        }
        self.bytes += bytes;
        self.kept.push_back(Kept {
            of: (tailnet, version),
            policy: Arc::clone(policy),
            bytes,
        });
        while self.bytes > MOST_BYTES || self.kept.len() > MOST {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_last_stays_within_the_bound() {
        let mut shelf = Shelf::default();
        let policy = Arc::new(Policy::allow_all());
        let tailnet = TailnetId::try_from(1_u64).unwrap();
        for version in 1..=4 {
            shelf.put(tailnet, version, &policy, MOST_BYTES / 4);
        }
        assert!(shelf.get(tailnet, 1).is_some(), "all four fit");
        shelf.put(tailnet, 5, &policy, MOST_BYTES / 4);
        assert!(
            shelf.get(tailnet, 2).is_none(),
            "nobody asked for it for the longest time"
        );
        assert!(shelf.get(tailnet, 1).is_some());
        assert!(shelf.get(TailnetId::try_from(2_u64).unwrap(), 1).is_none());
        shelf.put(tailnet, 6, &policy, MOST_BYTES + 1);
        assert!(shelf.get(tailnet, 6).is_none() && shelf.get(tailnet, 5).is_some());
    }
}
