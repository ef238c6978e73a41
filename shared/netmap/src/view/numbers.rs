//! Numbers that mean different things have different types.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

number!(
    /// A visibility class of the compiled policy: a hash of what makes it, equal on every replica.
    ClassId
);
number!(
    /// What the policy sets for nodes besides who reaches whom: a hash of what makes it, equal on every replica.
    SettingsId
);
number!(
    /// How many views of a tailnet this process has published; means nothing to another.
    Generation
);

impl Generation {
    /// Returns the generation before; that of the first is the first.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Returns the generation after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
