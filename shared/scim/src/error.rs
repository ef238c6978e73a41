//! What is wrong with a client's message, in the words of RFC 7644 section 3.12.

use std::fmt;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimErrorKind {
    /// A filter that can not be read, or that compares what can not be compared.
    InvalidFilter,
    /// More than is answered or done at once.
    TooMany,
    /// Another resource has this value.
    Uniqueness,
    /// The attribute can not be changed so.
    Mutability,
    /// The message is no SCIM message.
    InvalidSyntax,
    /// A path that names nothing.
    InvalidPath,
    /// A path whose filter chooses no value.
    NoTarget,
    /// A value that the attribute can not have.
    InvalidValue,
}

impl ScimErrorKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::InvalidFilter,
        Self::TooMany,
        Self::Uniqueness,
        Self::Mutability,
        Self::InvalidSyntax,
        Self::InvalidPath,
        Self::NoTarget,
        Self::InvalidValue,
    ];

    /// Returns the word for it in answers: `scimType`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
        }
    }

    /// Returns the word for it as the cause of an error between services.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidFilter => "SCIM_INVALID_FILTER",
            Self::TooMany => "SCIM_TOO_MANY",
            Self::Uniqueness => "SCIM_UNIQUENESS",
            Self::Mutability => "SCIM_MUTABILITY",
            Self::InvalidSyntax => "SCIM_INVALID_SYNTAX",
            Self::InvalidPath => "SCIM_INVALID_PATH",
            Self::NoTarget => "SCIM_NO_TARGET",
            Self::InvalidValue => "SCIM_INVALID_VALUE",
        }
    }
}

/// Why a message is not done: what is wrong, and words that say what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ScimError {
    /// What is wrong.
    pub kind: ScimErrorKind,
    /// The words.
    pub detail: String,
}

impl ScimError {
    /// Returns an error.
    pub fn new(kind: ScimErrorKind, detail: impl fmt::Display) -> Self {
        Self {
            kind,
            detail: detail.to_string(),
        }
    }

    /// Returns the error of a value that an attribute can not have.
    pub fn value(detail: impl fmt::Display) -> Self {
        Self::new(ScimErrorKind::InvalidValue, detail)
    }

    /// Returns the error of a message that is none.
    pub fn syntax(detail: impl fmt::Display) -> Self {
        Self::new(ScimErrorKind::InvalidSyntax, detail)
    }
}

/// Shortens a client's text for an error, so that an error is no longer than a line.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
