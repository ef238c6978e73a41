//! The per-tailnet change counter.

use std::fmt;

/// How many entries an owner's change log of one tailnet has: revision `n` is the state after entry `n`.
///
/// Each owner of hard state (identity, key-registry, policy-compiler) counts for itself; revisions of
/// different owners are not comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The state before the first entry.
    pub const ZERO: Self = Self(0);

    /// Returns the revision with this number of entries.
    #[must_use]
    pub const fn new(entries: u64) -> Self {
        Self(entries)
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the revision one entry later.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
