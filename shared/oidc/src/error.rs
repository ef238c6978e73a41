//! Why a login with a provider does not go on.

use std::error::Error;

use bowline_service_kit::error_text;

use crate::LogoutTokenError;

/// The longest problem that is passed on: it may hold what a provider says, which may be anything.
const LONGEST_PROBLEM: usize = 400;

/// Returns what is wrong, in one line that can be shown and logged.
pub(crate) fn describe_problem(error: &dyn Error) -> String {
    clean_problem(&error_text(error))
}

/// Returns a text without control characters, cut where it is too long.
pub(crate) fn clean_problem(text: &str) -> String {
    let mut shown = text.chars().filter(|c| !c.is_control());
    let mut cut: String = shown.by_ref().take(LONGEST_PROBLEM).collect();
    if shown.next().is_some() {
        cut.push('…');
    }
    cut
}

/// Why a login with a provider does not go on.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The issuer is no URL with a host.
    #[error("the issuer {0:?} is no https URL")]
    Issuer(String),
    /// What the provider publishes of itself can not be fetched or used.
    #[error("the provider {issuer} can not be asked: {problem}")]
    Discovery {
        /// The provider.
        issuer: String,
        /// What is wrong.
        problem: String,
    },
    /// The provider sent the person back with an error.
    #[error("the provider refuses the login: {0}")]
    Refused(String),
    /// The browser came back from another provider than it was sent to.
    #[error("the answer comes from {found:?}, and the login was begun with {expected}")]
    OtherIssuer {
        /// The provider the person was sent to.
        expected: String,
        /// The issuer that the answer names; empty when it names none although the provider always does.
        found: String,
    },
    /// The code is not taken: used, too old, of another client, or the secret is wrong.
    #[error("the provider does not take the code: {0}")]
    Code(String),
    /// The answer to the code is none that can be read.
    #[error("the provider's answer with tokens can not be used: {0}")]
    Tokens(String),
    /// The provider's answer has no ID token.
    #[error("the provider sends no ID token: is the client registered for OpenID Connect?")]
    NoIdToken,
    /// The ID token does not pass a check.
    #[error("the ID token is refused: {0}")]
    IdToken(String),
    /// What says that a person has logged out is not the provider's word.
    #[error("the logout token is refused: {0}")]
    LogoutToken(#[from] LogoutTokenError),
    /// The provider's further answer about the person can not be had.
    #[error("the provider does not say more of the person (userinfo): {0}")]
    UserInfo(String),
}

impl OidcError {
    /// Says whether the same login can go well later: the provider is away, and nobody was refused.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Discovery { .. } | Self::UserInfo(_))
    }
}
