//! What a check has found.

use std::time::Duration;

use serde::Serialize;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingLevel {
    /// As it is to be.
    Ok,
    /// It works, and is not as it is to be.
    Warning,
    /// Clients can not work with it.
    Failed,
}

impl FindingLevel {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What a check has found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The check, such as `certificate`.
    pub check: &'static str,
    /// What was checked, such as an address.
    pub place: String,
    /// How good it is.
    pub level: FindingLevel,
    /// How long the answer took; nothing where there was none.
    pub milliseconds: Option<u64>,
    /// What there is, or what is wrong and what to mend.
    pub text: String,
}

/// How good something is, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) level: FindingLevel,
    pub(crate) text: String,
}

impl Judgement {
    pub(crate) fn ok(text: impl Into<String>) -> Self {
        Self::new(FindingLevel::Ok, text)
    }

    pub(crate) fn warning(text: impl Into<String>) -> Self {
        Self::new(FindingLevel::Warning, text)
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(FindingLevel::Failed, text)
    }

    fn new(level: FindingLevel, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { level, text }
    }

    /// Returns it as the finding of a check at a place, that took so long.
    pub(crate) fn of(
        self,
        check: &'static str,
        place: impl Into<String>,
        took: Option<Duration>,
    ) -> Finding {
        Finding {
            check,
            place: place.into(),
            level: self.level,
            milliseconds: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            text: self.text,
        }
    }
}
