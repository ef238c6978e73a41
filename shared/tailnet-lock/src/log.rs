//! All updates of a tailnet, and which of them count.

use std::collections::BTreeMap;

use crate::{
    error::LockUpdateError,
    fork::choose_update,
    hash::UpdateHash,
    key::KeyId,
    state::LockState,
    update::{LockUpdate, UpdateKind},
};

/// How many updates a log has at most: clients follow no longer chain.
pub const MOST_UPDATES: usize = 2000;

/// The log of a tailnet: a tree of updates, of which one chain counts.
#[derive(Clone, Debug)]
pub struct LockLog {
    updates: BTreeMap<UpdateHash, LogEntry>,
    /// The updates that count, the genesis first. Never empty.
    chain: Vec<UpdateHash>,
    genesis: LockUpdate,
    head: UpdateHash,
    state: LockState,
}

#[derive(Clone, Debug)]
struct LogEntry {
    update: LockUpdate,
    children: Vec<UpdateHash>,
}

impl LockLog {
    /// Begins a log with its first update.
    ///
    /// # Errors
    ///
    /// The update is no checkpoint without parent, or no key that it trusts has signed it.
    pub fn begin(genesis: LockUpdate) -> Result<Self, LockUpdateError> {
        let UpdateKind::Checkpoint(state) = &genesis.kind else {
            return Err(LockUpdateError::Genesis);
        };
        if genesis.parent.is_some() {
            return Err(LockUpdateError::Genesis);
        }
        genesis.check_signatures(state)?;
        Self::begin_checked(genesis)
    }

    fn begin_checked(genesis: LockUpdate) -> Result<Self, LockUpdateError> {
        let UpdateKind::Checkpoint(state) = &genesis.kind else {
            return Err(LockUpdateError::Genesis);
        };
        let (hash, state) = (genesis.hash(), state.clone());
        let mut log = Self {
            updates: BTreeMap::new(),
            chain: vec![hash],
            genesis: genesis.clone(),
            head: hash,
            state,
        };
        log.insert(hash, genesis);
        Ok(log)
    }

    /// Makes a log of updates that were in it: the genesis first, each after its parent. Signatures are not checked again.
    ///
    /// # Errors
    ///
    /// They are no log.
    pub fn restore(updates: Vec<LockUpdate>) -> Result<Self, LockUpdateError> {
        let mut updates = updates.into_iter();
        let mut log = Self::begin_checked(updates.next().ok_or(LockUpdateError::Genesis)?)?;
        for update in updates {
            let parent = update.parent.ok_or(LockUpdateError::NoParent)?;
            if !log.has_update(&parent) {
                return Err(LockUpdateError::UnknownParent(parent));
            }
            log.insert(update.hash(), update);
        }
        log.follow_chain()?;
        Ok(log)
    }

    /// Adds updates, of which some may be known, and returns those that were not. With an error nothing has changed.
    ///
    /// ```text
    /// each: parent known ─▶ state at the parent ─▶ signed by keys it trusts ─▶ applicable ─▶ in
    /// all:  which chain counts is found anew
    /// ```
    ///
    /// # Errors
    ///
    /// One of them is refused.
    pub fn add(&mut self, updates: Vec<LockUpdate>) -> Result<Vec<LockUpdate>, LockUpdateError> {
        let mut grown = self.clone();
        let mut added = Vec::new();
        // Most updates follow the one before them.
        let mut last = (grown.head, grown.state.clone());
        for update in updates {
            let hash = update.hash();
            if grown.has_update(&hash) {
                continue;
            }
            if grown.updates.len() >= MOST_UPDATES {
                return Err(LockUpdateError::LogFull(grown.updates.len()));
            }
            let parent = update.parent.ok_or(LockUpdateError::NoParent)?;
            let mut state = match last {
                (at, state) if at == parent => state,
                _ => grown.state_at(&parent)?,
            };
            update.check_signatures(&state)?;
            state.apply(&update)?;
            last = (hash, state);
            grown.insert(hash, update.clone());
            added.push(update);
        }
        grown.follow_chain()?;
        *self = grown;
        Ok(added)
    }

    /// The hash of the last update that counts.
    #[must_use]
    pub fn head(&self) -> UpdateHash {
        self.head
    }

    /// The first update.
    #[must_use]
    pub fn genesis(&self) -> &LockUpdate {
        &self.genesis
    }

    /// What is trusted now.
    #[must_use]
    pub fn state(&self) -> &LockState {
        &self.state
    }

    /// Tells whether a key is trusted now.
    #[must_use]
    pub fn is_trusted(&self, key: &KeyId) -> bool {
        self.state.find_key(key).is_some()
    }

    /// How many updates there are, those that do not count included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.updates.len()
    }

    /// The updates that count, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (UpdateHash, &LockUpdate)> {
        let found = |hash: &UpdateHash| Some((*hash, &self.updates.get(hash)?.update));
        self.chain.iter().rev().filter_map(found)
    }

    pub(crate) fn has_update(&self, hash: &UpdateHash) -> bool {
        self.updates.contains_key(hash)
    }

    pub(crate) fn chain(&self) -> &[UpdateHash] {
        &self.chain
    }

    pub(crate) fn update(&self, hash: &UpdateHash) -> Option<&LockUpdate> {
        self.updates.get(hash).map(|entry| &entry.update)
    }

    fn insert(&mut self, hash: UpdateHash, update: LockUpdate) {
        let parent = update
            .parent
            .and_then(|parent| self.updates.get_mut(&parent));
        if let Some(parent) = parent {
            parent.children.push(hash);
        }
        let children = Vec::new();
        self.updates.insert(hash, LogEntry { update, children });
    }

    /// Computes what is trusted after any update, also one that does not count: from the last checkpoint on.
    fn state_at(&self, hash: &UpdateHash) -> Result<LockState, LockUpdateError> {
        if *hash == self.head {
            return Ok(self.state.clone());
        }
        let mut way = Vec::new();
        let mut at = *hash;
        let mut state = loop {
            let update = self.update(&at).ok_or(LockUpdateError::UnknownParent(at))?;
            if let UpdateKind::Checkpoint(state) = &update.kind {
                break state.clone();
            }
            way.push(update);
            at = update.parent.ok_or(LockUpdateError::NoParent)?;
        };
        for update in way.iter().rev() {
            state.apply(update)?;
        }
        Ok(state)
    }

    /// Finds the chain that counts, from the genesis on.
    fn follow_chain(&mut self) -> Result<(), LockUpdateError> {
        let mut at = self.genesis.hash();
        let mut state = self.state_at_genesis();
        let mut chain = vec![at];
        loop {
            let children = self.updates.get(&at).map(|entry| &entry.children);
            let candidates = children.into_iter().flatten();
            let candidates = candidates.filter_map(|hash| Some((*hash, self.update(hash)?)));
            let Some((hash, update)) = choose_update(&state, candidates) else {
                break;
            };
            state.apply(update)?;
            chain.push(hash);
            at = hash;
        }
        self.head = at;
        self.chain = chain;
        self.state = state;
        Ok(())
    }

    fn state_at_genesis(&self) -> LockState {
        match &self.genesis.kind {
            UpdateKind::Checkpoint(state) => state.clone(),
            _ => LockState::default(),
        }
    }
}
