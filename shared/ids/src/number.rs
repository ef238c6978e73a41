//! Numeric identifiers, taken from one sequence for all tailnets and never reused.

use std::fmt;

/// A number that is not a valid identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identifier lies between 1 and 2^53-1, got {0}")]
pub struct InvalidId(pub i128);

/// The largest identifier: the largest integer that a JSON number holds exactly as a double.
const MAX: u64 = (1 << 53) - 1;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Returns the number, between 1 and 2^53-1.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = InvalidId;

            fn try_from(number: u64) -> Result<Self, InvalidId> {
                if number == 0 || number > MAX {
                    return Err(InvalidId(number.into()));
                }
                Ok(Self(number))
            }
        }

        impl TryFrom<i64> for $name {
            type Error = InvalidId;

            fn try_from(number: i64) -> Result<Self, InvalidId> {
                Self::try_from(u64::try_from(number).map_err(|_| InvalidId(number.into()))?)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> Self {
                id.0.cast_signed()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

number_id!(
    /// A tailnet: one customer network, the boundary of every query.
    TailnetId
);
number_id!(
    /// A user of one tailnet, as clients see it in `User.ID`.
    UserId
);
number_id!(
    /// A node of one tailnet, as clients see it in `Node.ID`.
    NodeId
);

impl UserId {
    /// The pseudo user that clients are shown for tagged nodes: beyond every user's number.
    pub const TAGGED_DEVICES: Self = Self(1 << 52);
}

/// A node's stable name, as clients see it in `Node.StableID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StableNodeId(NodeId);

impl From<NodeId> for StableNodeId {
    fn from(id: NodeId) -> Self {
        Self(id)
    }
}

impl fmt::Display for StableNodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "n{}CNTRL", self.0)
    }
}

/// A tailnet's stable name, as clients see it in `Node.StableTailnetID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StableTailnetId(TailnetId);

impl From<TailnetId> for StableTailnetId {
    fn from(id: TailnetId) -> Self {
        Self(id)
    }
}

impl fmt::Display for StableTailnetId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "T{}CNTRL", self.0)
    }
}

#[cfg(test)]
mod tests;
