//! From a property to all that have it.

use imbl::{OrdMap, OrdSet};

/// The values of each key; cheap to clone. A key without values is not there.
#[derive(Clone, Debug)]
pub struct InvertedIndex<K: Ord, V: Ord>(OrdMap<K, OrdSet<V>>);

impl<K: Ord, V: Ord> Default for InvertedIndex<K, V> {
    fn default() -> Self {
        Self(OrdMap::default())
    }
}

impl<K: Ord + Clone, V: Ord + Copy> InvertedIndex<K, V> {
    /// Adds a value to each of some keys.
    pub(super) fn insert<'k>(&mut self, keys: impl IntoIterator<Item = &'k K>, value: V)
    where
        K: 'k,
    {
        for key in keys {
            self.0.entry(key.clone()).or_default().insert(value);
        }
    }

    /// Removes a value from each of some keys.
    pub(super) fn remove<'k>(&mut self, keys: impl IntoIterator<Item = &'k K>, value: V)
    where
        K: 'k,
    {
        for key in keys {
            if let Some(values) = self.0.get_mut(key) {
                values.remove(&value);
                if values.is_empty() {
                    self.0.remove(key);
                }
            }
        }
    }

    /// Moves a value from the keys it had to those it has; nothing is written when they are the same.
    pub(super) fn replace<'k>(
        &mut self,
        before: impl Iterator<Item = &'k K> + Clone,
        now: impl Iterator<Item = &'k K> + Clone,
        value: V,
    ) where
        K: 'k,
    {
        if !before.clone().eq(now.clone()) {
            self.remove(before, value);
            self.insert(now, value);
        }
    }

    /// Returns the values of a key, ascending.
    pub fn values_of<'i>(&'i self, key: &K) -> impl Iterator<Item = V> + use<'i, K, V> {
        self.0.get(key).into_iter().flatten().copied()
    }

    /// Returns how many values a key has.
    #[must_use]
    pub fn count_values_of(&self, key: &K) -> usize {
        self.0.get(key).map_or(0, OrdSet::len)
    }

    /// Says whether a key has values.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }
}
