//! Parsed policies that were read lately. A version never changes, so that nothing here grows stale.

use std::{collections::VecDeque, sync::Arc};

use bowline_ids::TailnetId;
use bowline_policy::Policy;

/// The most bytes of documents whose policies are kept, and the most policies.
const MOST_BYTES: usize = 32 << 20;
const MOST_POLICIES: usize = 1024;

/// The policies that were used last, within a number of bytes.
#[derive(Debug, Default)]
pub struct PolicyCache {
    /// The one used last is at the end.
    entries: VecDeque<CachedPolicy>,
    bytes: usize,
}

#[derive(Debug)]
struct CachedPolicy {
    tailnet: TailnetId,
    version: u64,
    policy: Arc<Policy>,
    /// The size of the document it was read from.
    bytes: usize,
}

impl PolicyCache {
    /// Returns a version's policy, if it is here.
    pub fn get(&mut self, tailnet: TailnetId, version: u64) -> Option<Arc<Policy>> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.tailnet == tailnet && entry.version == version)?;
        let found = self.entries.remove(at)?;
        let policy = Arc::clone(&found.policy);
        self.entries.push_back(found);
        Some(policy)
    }

    /// Adds a version's policy, read from a document of so many bytes. Those not used for longest make room.
    pub fn insert(&mut self, tailnet: TailnetId, version: u64, policy: &Arc<Policy>, bytes: usize) {
        if bytes > MOST_BYTES || self.get(tailnet, version).is_some() {
            return;
        }
        self.bytes += bytes;
        self.entries.push_back(CachedPolicy {
            tailnet,
            version,
            policy: Arc::clone(policy),
            bytes,
        });
        while self.bytes > MOST_BYTES || self.entries.len() > MOST_POLICIES {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests;
