//! Those who are known, by who answers for them, and which of them goes first. Pure.
//!
//! The owner with most slots goes first, of it the holder with most, and of that the oldest; of holders with as many as
//! each other the one with the oldest slot. Somebody goes for another only if the other has fewer: owners, and holders of
//! one owner, that have as much as each other do not displace each other in turn.
//!
//! Example: Ann has three nodes with two slots each, Ben has one slot. For a slot of Carol the oldest of Ann's goes; so it
//! does for a second one of Ben's; for a fourth node of Ann's one of her nodes that have two loses the older.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

/// What makes somebody known.
pub trait SlotHolder: Ord + Clone + Debug + Send + Sync + Unpin + 'static {
    /// Who answers for several holders, such as the user of some nodes.
    type Owner: Ord + Clone + Debug + Send + Sync + 'static;

    /// Returns who answers for it.
    fn owner(&self) -> Self::Owner;
}

/// All are one.
impl SlotHolder for () {
    type Owner = ();

    fn owner(&self) {}
}

/// Those who are known.
#[derive(Debug)]
pub(super) enum KnownTable<K: SlotHolder> {
    /// Most sources have no more than one slot, which needs no more than this.
    One(Option<(u64, K)>),
    /// It has had several at once.
    Several(Box<KnownOwners<K>>),
}

/// Those who are known, by owner.
#[derive(Debug)]
pub(super) struct KnownOwners<K: SlotHolder> {
    count: usize,
    owners: BTreeMap<K::Owner, OwnerSlots<K>>,
    /// The owners, by how many slots they have.
    by_count: BTreeSet<(usize, K::Owner)>,
}

/// The slots of one owner.
#[derive(Debug)]
struct OwnerSlots<K> {
    count: usize,
    /// Those of each holder, the oldest first.
    slots: BTreeMap<K, BTreeSet<u64>>,
    /// The holders, by how many they have and how old the oldest is.
    by_count: BTreeSet<(usize, Reverse<u64>, K)>,
}

impl<K: SlotHolder> Default for KnownTable<K> {
    fn default() -> Self {
        Self::One(None)
    }
}

impl<K: SlotHolder> Default for KnownOwners<K> {
    fn default() -> Self {
        Self {
            count: 0,
            owners: BTreeMap::new(),
            by_count: BTreeSet::new(),
        }
    }
}

impl<K> Default for OwnerSlots<K> {
    fn default() -> Self {
        Self {
            count: 0,
            slots: BTreeMap::new(),
            by_count: BTreeSet::new(),
        }
    }
}

impl<K: SlotHolder> KnownTable<K> {
    /// Adds a slot; later ones have higher numbers.
    pub(super) fn add(&mut self, id: u64, holder: &K) {
        match self {
            Self::One(empty @ None) => *empty = Some((id, holder.clone())),
            Self::One(Some((only, its_holder))) => {
                let mut owners = KnownOwners::default();
                owners.add(*only, its_holder);
                owners.add(id, holder);
                *self = Self::Several(Box::new(owners));
            }
            Self::Several(owners) => owners.add(id, holder),
        }
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, id: u64, holder: &K) {
        match self {
            Self::One(one) => drop(one.take_if(|(only, _)| *only == id)),
            Self::Several(owners) => owners.remove(id, holder),
        }
    }

    /// Returns how many slots there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::One(one) => usize::from(one.is_some()),
            Self::Several(owners) => owners.count,
        }
    }

    /// Returns how many slots a holder has.
    pub(super) fn count_of(&self, holder: &K) -> usize {
        match self {
            Self::One(_) => usize::from(self.oldest_of(holder).is_some()),
            Self::Several(owners) => owners.slots_of(holder).map_or(0, BTreeSet::len),
        }
    }

    /// Returns the oldest slot of a holder.
    pub(super) fn oldest_of(&self, holder: &K) -> Option<u64> {
        match self {
            Self::One(one) => {
                let (only, _) = one.as_ref().filter(|(_, of)| of == holder)?;
                Some(*only)
            }
            Self::Several(owners) => owners.slots_of(holder)?.first().copied(),
        }
    }

    /// Returns who goes so that a holder gets one more; `None`: nobody has more than it would have.
    pub(super) fn first_to_go_for(&self, holder: &K) -> Option<u64> {
        match self {
            Self::One(_) => self.oldest_of(holder),
            Self::Several(owners) => owners.first_to_go_for(holder),
        }
    }
}

impl<K: SlotHolder> KnownOwners<K> {
    fn add(&mut self, id: u64, holder: &K) {
        self.change_slots(holder, |slots| slots.insert(id));
    }

    fn remove(&mut self, id: u64, holder: &K) {
        self.change_slots(holder, |slots| slots.remove(&id));
    }

    fn first_to_go_for(&self, holder: &K) -> Option<u64> {
        let owner = holder.owner();
        let of_owner = self.owners.get(&owner);
        let (most, heaviest) = self.by_count.last()?;
        if *heaviest != owner && *most > of_owner.map_or(0, |owned| owned.count) + 1 {
            return self.owners.get(heaviest)?.first_to_go();
        }
        of_owner?.first_to_go_for(holder)
    }

    fn slots_of(&self, holder: &K) -> Option<&BTreeSet<u64>> {
        self.owners.get(&holder.owner())?.slots.get(holder)
    }

    /// Changes the slots of a holder, if `change` says so, and what is known of its owner.
    fn change_slots(&mut self, holder: &K, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let owner = holder.owner();
        let owned = self.owners.entry(owner.clone()).or_default();
        let before = owned.count;
        owned.change_slots(holder, change);
        let after = owned.count;
        if after == 0 {
            self.owners.remove(&owner);
        }
        self.count = self.count + after - before;
        self.by_count.remove(&(before, owner.clone()));
        if after > 0 {
            self.by_count.insert((after, owner));
        }
    }
}

impl<K: Ord + Clone> OwnerSlots<K> {
    fn first_to_go(&self) -> Option<u64> {
        let (_, Reverse(oldest), _) = self.by_count.last()?;
        Some(*oldest)
    }

    fn first_to_go_for(&self, holder: &K) -> Option<u64> {
        let (most, Reverse(oldest), heaviest) = self.by_count.last()?;
        let own = self.slots.get(holder);
        if heaviest != holder && *most > own.map_or(0, BTreeSet::len) + 1 {
            return Some(*oldest);
        }
        // Its own oldest: most likely the end of that one has not been noticed yet.
        own?.first().copied()
    }

    fn change_slots(&mut self, holder: &K, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let slots = self.slots.entry(holder.clone()).or_default();
        let weight = |slots: &BTreeSet<u64>, holder: &K| {
            let oldest = *slots.first()?;
            Some((slots.len(), Reverse(oldest), holder.clone()))
        };
        let before = weight(slots, holder);
        let count = slots.len();
        change(slots);
        self.count = self.count + slots.len() - count;
        let after = weight(slots, holder);
        if slots.is_empty() {
            self.slots.remove(holder);
        }
        if let Some(before) = before {
            self.by_count.remove(&before);
        }
        self.by_count.extend(after);
    }
}

#[cfg(test)]
mod tests;
