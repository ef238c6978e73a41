//! How often it is put on record that somebody named another machine's key.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long nothing more is told of a node after it was.
const AUDIT_INTERVAL: Duration = Duration::from_secs(60);
/// The most nodes remembered; beyond them nothing is told until the oldest are over.
const MOST_NODES: usize = 10_000;
/// With more mutations of the tailnet waiting than this, those go first.
const MOST_WAITING: usize = 64;

/// The nodes whose keys were named by others lately.
#[derive(Debug, Default)]
pub struct ForeignKeyAudits(Mutex<BTreeMap<u64, Instant>>);

impl ForeignKeyAudits {
    /// Says whether it is told this time that a node's key was named, while `waiting` mutations wait.
    pub fn take_turn(&self, node: u64, waiting: usize) -> bool {
        let now = tokio::time::Instant::now().into_std();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST_NODES {
            told.retain(|_, when| now.duration_since(*when) < AUDIT_INTERVAL);
        }
        let lately = told
            .get(&node)
            .is_some_and(|when| now.duration_since(*when) < AUDIT_INTERVAL);
        if lately || waiting > MOST_WAITING || told.len() >= MOST_NODES {
            return false;
        }
        told.insert(node, now);
        true
    }
}

#[cfg(test)]
mod tests;
