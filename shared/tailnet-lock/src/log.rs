//! All updates of a tailnet, and which of them count.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    error::LockUpdateError,
    fork::choose_update,
    hash::{UpdateHash, hash_bytes},
    key::KeyId,
    limits::LogSize,
    state::LockState,
    update::{LockUpdate, UpdateKind},
};

/// The log of a tailnet: a tree of updates, of which one chain counts.
#[derive(Clone, Debug)]
pub struct LockLog {
    updates: BTreeMap<UpdateHash, LogEntry>,
    /// The updates that count, the genesis first. Never empty.
    chain: Vec<UpdateHash>,
    genesis: Arc<LockUpdate>,
    head: UpdateHash,
    state: LockState,
    /// The encoded updates together.
    bytes: usize,
    /// The longest way from the genesis.
    longest: usize,
}

#[derive(Clone, Debug)]
struct LogEntry {
    update: Arc<LockUpdate>,
    children: Vec<UpdateHash>,
    /// Its place on the way from the genesis, which has zero.
    place: usize,
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
        let (encoded, state) = (genesis.encode(), state.clone());
        let hash = UpdateHash(hash_bytes(&encoded));
        let genesis = Arc::new(genesis);
        let mut log = Self {
            updates: BTreeMap::new(),
            chain: vec![hash],
            genesis: Arc::clone(&genesis),
            head: hash,
            state,
            bytes: 0,
            longest: 0,
        };
        log.insert(hash, genesis, encoded.len());
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
            let encoded = update.encode();
            let hash = UpdateHash(hash_bytes(&encoded));
            log.insert(hash, Arc::new(update), encoded.len());
        }
        log.follow_chain()?;
        Ok(log)
    }

    /// Adds updates, of which some may be known, and returns those that were not. With an error nothing has changed.
    ///
    /// ```text
    /// each: parent known ─▶ room for it ─▶ signed by keys that the state at the parent trusts ─▶ applicable ─▶ in
    /// all:  which chain counts is found anew ─▶ room for what counts, and for what does not
    /// ```
    ///
    /// The work grows with the bytes of the log and of the updates alone, however the updates branch.
    ///
    /// # Errors
    ///
    /// One of them is refused, or the log is full.
    pub fn add(&mut self, updates: Vec<LockUpdate>) -> Result<Vec<LockUpdate>, LockUpdateError> {
        let mut grown = self.clone();
        let mut new = Vec::new();
        for update in updates {
            let encoded = update.encode();
            let hash = UpdateHash(hash_bytes(&encoded));
            if !self.has_update(&hash) {
                new.push((hash, Arc::new(update), encoded.len()));
            }
        }
        let mut states = ParentStates::find(self, &new)?;
        let mut added = Vec::new();
        for (hash, update, length) in new {
            if grown.has_update(&hash) {
                continue;
            }
            let parent = update.parent.ok_or(LockUpdateError::NoParent)?;
            if !grown.has_update(&parent) {
                return Err(LockUpdateError::UnknownParent(parent));
            }
            grown.insert(hash, Arc::clone(&update), length);
            // Before the signatures are checked: they are what takes time.
            grown.size().check_absolute()?;
            let mut state = states.take(&parent)?;
            update.check_signatures(&state)?;
            state.apply(&update)?;
            states.put(hash, state);
            added.push(update);
        }
        if added.is_empty() {
            return Ok(Vec::new());
        }
        grown.follow_chain()?;
        grown.check_room(self, &added)?;
        *self = grown;
        let owned = added.into_iter().map(Arc::unwrap_or_clone);
        Ok(owned.collect())
    }

    /// Checks that there is room for what was added to the log as it was before.
    fn check_room(&self, before: &Self, added: &[Arc<LockUpdate>]) -> Result<(), LockUpdateError> {
        let counts = |update: &LockUpdate| self.place_in_chain(&update.hash()).is_some();
        let is_aside = !added.iter().all(|update| counts(update));
        let keys_before = before.state.keys.iter();
        let withdraws_trust = keys_before
            .map(|key| key.id)
            .any(|id| !self.is_trusted(&id));
        self.size().check(is_aside, withdraws_trust)
    }

    fn size(&self) -> LogSize {
        LogSize {
            bytes: self.bytes,
            longest: self.longest,
            chain: self.chain.len(),
            all: self.updates.len(),
        }
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

    /// How many updates count.
    #[must_use]
    pub fn chain_length(&self) -> usize {
        self.chain.len()
    }

    /// How many bytes the encoded updates have together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The updates that count, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (UpdateHash, &LockUpdate)> {
        let found = |hash: &UpdateHash| Some((*hash, self.update(hash)?));
        self.chain.iter().rev().filter_map(found)
    }

    pub(crate) fn has_update(&self, hash: &UpdateHash) -> bool {
        self.updates.contains_key(hash)
    }

    pub(crate) fn chain(&self) -> &[UpdateHash] {
        &self.chain
    }

    /// The place of an update among those that count; `None` where it does not count.
    pub(crate) fn place_in_chain(&self, hash: &UpdateHash) -> Option<usize> {
        let place = self.updates.get(hash)?.place;
        (self.chain.get(place) == Some(hash)).then_some(place)
    }

    pub(crate) fn update(&self, hash: &UpdateHash) -> Option<&LockUpdate> {
        self.updates.get(hash).map(|entry| &*entry.update)
    }

    fn insert(&mut self, hash: UpdateHash, update: Arc<LockUpdate>, length: usize) {
        let parent = update
            .parent
            .and_then(|parent| self.updates.get_mut(&parent));
        let mut place = 0;
        if let Some(parent) = parent {
            parent.children.push(hash);
            place = parent.place + 1;
        }
        self.bytes += length;
        self.longest = self.longest.max(place + 1);
        let entry = LogEntry {
            update,
            children: Vec::new(),
            place,
        };
        self.updates.insert(hash, entry);
    }

    /// Computes what is trusted after some updates, also ones that do not count, in one pass over the log.
    fn states_at(
        &self,
        wanted: &BTreeSet<UpdateHash>,
    ) -> Result<BTreeMap<UpdateHash, LockState>, LockUpdateError> {
        let mut found = BTreeMap::new();
        let genesis = self.genesis.hash();
        let mut left = vec![(genesis, Arc::new(self.state_at_genesis()))];
        while let Some((hash, before)) = left.pop() {
            let Some(entry) = self.updates.get(&hash) else {
                continue;
            };
            let mut state = Arc::unwrap_or_clone(before);
            if hash != genesis {
                state.apply(&entry.update)?;
            }
            if wanted.contains(&hash) {
                found.insert(hash, state.clone());
            }
            let state = Arc::new(state);
            let children = entry.children.iter();
            left.extend(children.map(|child| (*child, Arc::clone(&state))));
        }
        Ok(found)
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

/// What is trusted after updates that others follow, each as long as one that follows it is left.
struct ParentStates {
    states: BTreeMap<UpdateHash, LockState>,
    /// How many updates that follow it are left.
    left: BTreeMap<UpdateHash, usize>,
}

impl ParentStates {
    fn find(
        log: &LockLog,
        new: &[(UpdateHash, Arc<LockUpdate>, usize)],
    ) -> Result<Self, LockUpdateError> {
        let mut left: BTreeMap<UpdateHash, usize> = BTreeMap::new();
        for parent in new.iter().filter_map(|(_, update, _)| update.parent) {
            *left.entry(parent).or_default() += 1;
        }
        let known = left.keys().filter(|parent| log.has_update(parent));
        let known: BTreeSet<_> = known.copied().collect();
        // Most updates follow the head.
        let is_head_alone = known.iter().all(|parent| *parent == log.head);
        let states = match is_head_alone {
            true => [(log.head, log.state.clone())].into(),
            false => log.states_at(&known)?,
        };
        Ok(Self { states, left })
    }

    fn take(&mut self, parent: &UpdateHash) -> Result<LockState, LockUpdateError> {
        let left = self.left.get_mut(parent);
        let is_last = left.is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        let found = match is_last {
            true => self.states.remove(parent),
            false => self.states.get(parent).cloned(),
        };
        found.ok_or(LockUpdateError::UnknownParent(*parent))
    }

    fn put(&mut self, hash: UpdateHash, state: LockState) {
        if self.left.contains_key(&hash) {
            self.states.insert(hash, state);
        }
    }
}

#[cfg(test)]
mod tests;
