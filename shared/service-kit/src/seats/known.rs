//! Those who are known, by who answers for them, and which of them goes first. Pure.
//!
//! The owner with most seats goes first, of it the holder with most, and of that the oldest; of holders with as many as
//! each other the one with the oldest seat. Somebody goes for another only if the other has fewer: owners, and holders of
//! one owner, that have as much as each other do not displace each other in turn.
//!
//! Example: Ann has three nodes with two seats each, Ben has one seat. For a seat of Carol the oldest of Ann's goes; so it
//! does for a second one of Ben's; for a fourth node of Ann's one of her nodes that have two loses the older.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

/// What makes somebody known.
pub trait SeatHolder: Ord + Clone + Debug + Send + Sync + Unpin + 'static {
    /// Who answers for several holders, such as the user of some nodes.
    type Owner: Ord + Clone + Debug + Send + Sync + 'static;

    /// Returns who answers for it.
    fn owner(&self) -> Self::Owner;
}

/// All are one.
impl SeatHolder for () {
    type Owner = ();

    fn owner(&self) {}
}

/// Those who are known.
#[derive(Debug)]
pub(super) struct Known<K: SeatHolder> {
    count: usize,
    owners: BTreeMap<K::Owner, Owned<K>>,
    /// The owners, by how many seats they have.
    by_count: BTreeSet<(usize, K::Owner)>,
}

/// The seats of one owner.
#[derive(Debug)]
struct Owned<K> {
    count: usize,
    /// Those of each holder, the oldest first.
    seats: BTreeMap<K, BTreeSet<u64>>,
    /// The holders, by how many they have and how old the oldest is.
    by_count: BTreeSet<(usize, Reverse<u64>, K)>,
}

impl<K: SeatHolder> Default for Known<K> {
    fn default() -> Self {
        Self {
            count: 0,
            owners: BTreeMap::new(),
            by_count: BTreeSet::new(),
        }
    }
}

impl<K> Default for Owned<K> {
    fn default() -> Self {
        Self {
            count: 0,
            seats: BTreeMap::new(),
            by_count: BTreeSet::new(),
        }
    }
}

impl<K: SeatHolder> Known<K> {
    /// Adds a seat; later ones have higher numbers.
    pub(super) fn add(&mut self, id: u64, holder: &K) {
        self.change(holder, |seats| seats.insert(id));
    }

    /// Takes a seat out.
    pub(super) fn remove(&mut self, id: u64, holder: &K) {
        self.change(holder, |seats| seats.remove(&id));
    }

    /// Returns how many seats there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns how many seats a holder has.
    pub(super) fn count_of(&self, holder: &K) -> usize {
        self.seats_of(holder).map_or(0, BTreeSet::len)
    }

    /// Returns the oldest seat of a holder.
    pub(super) fn oldest_of(&self, holder: &K) -> Option<u64> {
        self.seats_of(holder)?.first().copied()
    }

    /// Returns who goes so that a holder gets one more; `None`: nobody has more than it would have.
    pub(super) fn first_to_go_for(&self, holder: &K) -> Option<u64> {
        let owner = holder.owner();
        let of_owner = self.owners.get(&owner);
        let (most, heaviest) = self.by_count.last()?;
        if *heaviest != owner && *most > of_owner.map_or(0, |owned| owned.count) + 1 {
            return self.owners.get(heaviest)?.first_to_go();
        }
        of_owner?.first_to_go_for(holder)
    }

    fn seats_of(&self, holder: &K) -> Option<&BTreeSet<u64>> {
        self.owners.get(&holder.owner())?.seats.get(holder)
    }

    /// Changes the seats of a holder, if `change` says so, and what is known of its owner.
    fn change(&mut self, holder: &K, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let owner = holder.owner();
        let owned = self.owners.entry(owner.clone()).or_default();
        let before = owned.count;
        owned.change(holder, change);
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

impl<K: Ord + Clone> Owned<K> {
    fn first_to_go(&self) -> Option<u64> {
        let (_, Reverse(oldest), _) = self.by_count.last()?;
        Some(*oldest)
    }

    fn first_to_go_for(&self, holder: &K) -> Option<u64> {
        let (most, Reverse(oldest), heaviest) = self.by_count.last()?;
        let own = self.seats.get(holder);
        if heaviest != holder && *most > own.map_or(0, BTreeSet::len) + 1 {
            return Some(*oldest);
        }
        // Its own oldest: most likely the end of that one has not been noticed yet.
        own?.first().copied()
    }

    fn change(&mut self, holder: &K, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let seats = self.seats.entry(holder.clone()).or_default();
        let weight = |seats: &BTreeSet<u64>, holder: &K| {
            let oldest = *seats.first()?;
            Some((seats.len(), Reverse(oldest), holder.clone()))
        };
        let before = weight(seats, holder);
        let count = seats.len();
        change(seats);
        self.count = self.count + seats.len() - count;
        let after = weight(seats, holder);
        if seats.is_empty() {
            self.seats.remove(holder);
        }
        if let Some(before) = before {
            self.by_count.remove(&before);
        }
        self.by_count.extend(after);
    }
}
