//! Recognises exact repetitions of sealed requests.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bowline_keys::MachinePublic;

use crate::NONCE;

/// How long a nonce is remembered.
const MEMORY: Duration = Duration::from_secs(5 * 60);

type Seen = (MachinePublic, [u8; NONCE]);

/// Remembers which (machine key, nonce) pairs came in the last five minutes, up to a number.
#[derive(Debug)]
pub struct ReplayCache {
    capacity: usize,
    seen: BTreeSet<Seen>,
    order: VecDeque<(Instant, Seen)>,
}

impl ReplayCache {
    /// Returns a cache of at most `capacity` pairs; beyond it the oldest is forgotten early.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            seen: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Remembers a pair; returns `false` when it was remembered already, so that the request is a repetition.
    pub fn remember(&mut self, machine: MachinePublic, nonce: [u8; NONCE], now: Instant) -> bool {
        while let Some((when, _)) = self.order.front()
            && now.duration_since(*when) >= MEMORY
        {
            self.forget_oldest();
        }
        let pair = (machine, nonce);
        if self.seen.contains(&pair) {
            return false;
        }
        if self.order.len() >= self.capacity {
            self.forget_oldest();
        }
        self.seen.insert(pair);
        self.order.push_back((now, pair));
        true
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
