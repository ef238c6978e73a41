//! Which attributes users and groups have (RFC 7643), as tables.

mod tables;

pub use tables::{ENTERPRISE_USER, GROUP, USER};

/// The longest name of an attribute that is looked for.
const LONGEST_NAME: usize = 100;

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScimType {
    /// A person.
    User,
    /// A named set of people.
    Group,
}

impl ScimType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// Returns the name, as in `meta.resourceType`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// Returns the address below the base, such as "/Users".
    #[must_use]
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "/Users",
            Self::Group => "/Groups",
        }
    }

    /// Returns what every resource of the type is.
    #[must_use]
    pub const fn schema(self) -> &'static ScimSchema {
        match self {
            Self::User => &USER,
            Self::Group => &GROUP,
        }
    }

    /// Returns what a resource of the type can be besides.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static ScimSchema] {
        match self {
            Self::User => &[&ENTERPRISE_USER],
            Self::Group => &[],
        }
    }
}

/// A set of attributes with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct ScimSchema {
    /// Its URN.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// What it describes.
    pub description: &'static str,
    /// The attributes.
    pub attributes: &'static [ScimAttribute],
}

/// What an attribute's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// A time, as RFC 3339 writes it.
    DateTime,
    /// An address: of resources of these types, or "external" ones.
    Reference(&'static [&'static str]),
    /// An object of these attributes.
    Complex(&'static [ScimAttribute]),
}

/// Whether clients may change an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimMutability {
    /// They may.
    ReadWrite,
    /// The server says what it is.
    ReadOnly,
    /// Once, with the value that it is part of.
    Immutable,
}

/// How many may have the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimUniqueness {
    /// Any number.
    None,
    /// One of all that a connection provisions.
    Server,
}

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScimAttribute {
    /// Its name, in the spelling that answers have.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// What its value is, or each of its values.
    pub kind: ValueKind,
    /// Whether it has a list of values.
    pub is_multi: bool,
    /// Whether a resource must have it.
    pub is_required: bool,
    /// Whether texts that differ in case are two.
    pub is_case_exact: bool,
    /// Whether clients may change it.
    pub mutability: ScimMutability,
    /// Whether answers have it in any case.
    pub is_always_returned: bool,
    /// How many may have the same value.
    pub uniqueness: ScimUniqueness,
    /// Values that are customary; empty: any.
    pub canonical_values: &'static [&'static str],
}

impl ScimAttribute {
    /// Returns the attributes that a value consists of.
    #[must_use]
    pub const fn parts(&self) -> &'static [Self] {
        match self.kind {
            ValueKind::Complex(parts) => parts,
            _ => &[],
        }
    }

    /// Returns a part by name, in whatever case it is written.
    #[must_use]
    pub fn find_part(&self, name: &str) -> Option<&'static Self> {
        find_attribute(self.parts(), name)
    }

    /// Says whether the server alone says what it is.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.mutability == ScimMutability::ReadOnly
    }
}

/// Returns an attribute by name, in whatever case it is written.
#[must_use]
pub fn find_attribute(
    attributes: &'static [ScimAttribute],
    name: &str,
) -> Option<&'static ScimAttribute> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// Attributes of every resource, which no schema lists.
#[must_use]
pub fn find_common_attribute(name: &str) -> Option<&'static ScimAttribute> {
    find_attribute(tables::COMMON, name)
}
