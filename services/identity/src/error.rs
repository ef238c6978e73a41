//! Errors of identity, in words that help its callers.

use std::time::Duration;

use bowline_db::DatabaseError;
use bowline_oidc::OidcError;
use bowline_proto::access::Denial;
use bowline_scim::{ScimError, ScimErrorKind};
use bowline_sealing::SealingError;
use bowline_service_kit::{Code, ServiceError};
use tonic::Status;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is one with this name.
    #[error("{0} exists already: choose another name")]
    Exists(&'static str),
    /// Another user has this login name, written in another case.
    #[error(
        "the user {0} exists already, and login names that differ only in case are one: choose another name"
    )]
    NamedAlike(String),
    /// A field of the request is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// Its name.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// There is nothing with this id or name.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller may not do this.
    #[error("{0}")]
    Denied(#[from] Denial),
    /// A token is nobody's, or has ended.
    #[error("{0}")]
    NoToken(&'static str),
    /// A client has too many access tokens.
    #[error("the OAuth client has 1,000 access tokens that have not ended: use one until it ends")]
    TooManyTokens,
    /// It is not possible as things are now.
    #[error("{0}")]
    Refused(&'static str),
    /// An identity provider keeps it; says what, and what to do.
    #[error("{0}")]
    ProviderOwned(String),
    /// A message of SCIM is wrong.
    #[error("{0}")]
    Scim(#[from] ScimError),
    /// A resource of SCIM has another version than the request names.
    #[error("the resource was changed since: read it again")]
    OtherVersion,
    /// A person may not log in; in words for the page that he or she sees.
    #[error("{0}")]
    LoginRefused(String),
    /// A person is known, and an administrator has not approved him or her yet.
    #[error("{AWAITS_APPROVAL}")]
    AwaitsApproval,
    /// The identity provider can not be asked, or says what is not believed.
    #[error("{0}")]
    Provider(#[from] OidcError),
    /// The audit trail of another service can not be read.
    #[error("the audit trail of {0} can not be read: {1}")]
    Trail(&'static str, String),
    /// A sealed secret can not be opened.
    #[error("the secret of {0} can not be opened: {1}")]
    Sealed(String, #[source] SealingError),
    /// What is kept for a SAML connection can not be used.
    #[error("the SAML connection {0} can not be used: {1}")]
    Saml(String, String),
    /// Too many browsers log in for one device.
    #[error("too many attempts to log in are under way for this device: try again in ten minutes")]
    TooManyAttempts,
    /// Too many logins of this machine or network wait for a decision.
    #[error("too many logins wait for a decision: try again in a few minutes")]
    TooManyLogins,
    /// A network starts logins too fast; with how long it is to wait.
    #[error("too many logins begin from your network: try again in a moment")]
    LoginsTooFast(Duration),
    /// Too many calls wait for this login.
    #[error("this login is waited for already: end the other commands that wait for it")]
    TooManyOfLogin,
    /// Too many calls wait for logins.
    #[error("too many devices wait for their logins: try again in a minute")]
    TooManyWaiters,
    /// The database failed.
    #[error("the identity store can not answer: {0}")]
    Database(#[source] DatabaseError),
}

/// What a person who waits is told, on the page and on the device.
pub(crate) const AWAITS_APPROVAL: &str =
    "You are known now, and wait until an administrator approves you. Log in once more after that.";

impl IdentityError {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }

    pub(crate) fn denied(words: impl Into<String>) -> Self {
        Self::Denied(Denial::Field(words.into()))
    }
}

impl From<DatabaseError> for IdentityError {
    fn from(error: DatabaseError) -> Self {
        match &error {
            DatabaseError::Conflict { constraint } if constraint.starts_with("tailnets_") => {
                Self::Exists("the tailnet")
            }
            DatabaseError::Conflict { constraint } if constraint.starts_with("users_") => {
                Self::Exists("the user")
            }
            DatabaseError::Conflict { constraint } if constraint.starts_with("user_groups_") => {
                Self::Exists("the group")
            }
            DatabaseError::Conflict { constraint } if constraint.starts_with("connections_") => {
                Self::Exists("the connection")
            }
            _ => Self::Database(error),
        }
    }
}

impl From<sqlx::Error> for IdentityError {
    fn from(error: sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl ServiceError for IdentityError {
    fn code(&self) -> Code {
        match self {
            Self::Exists(_) | Self::NamedAlike(_) => Code::AlreadyExists,
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::Denied(_) => Code::PermissionDenied,
            Self::NoToken(_) => Code::Unauthenticated,
            Self::Refused(_)
            | Self::ProviderOwned(_)
            | Self::LoginRefused(_)
            | Self::AwaitsApproval => Code::FailedPrecondition,
            Self::Scim(error) => match error.kind {
                ScimErrorKind::Uniqueness => Code::AlreadyExists,
                ScimErrorKind::Mutability => Code::FailedPrecondition,
                _ => Code::InvalidArgument,
            },
            Self::OtherVersion => Code::FailedPrecondition,
            Self::Trail(..) => Code::Unavailable,
            Self::Provider(error) if error.is_temporary() => Code::Unavailable,
            Self::Provider(_) => Code::FailedPrecondition,
            Self::Sealed(..) | Self::Saml(..) => Code::Internal,
            Self::TooManyLogins
            | Self::TooManyTokens
            | Self::TooManyAttempts
            | Self::LoginsTooFast(_)
            | Self::TooManyOfLogin
            | Self::TooManyWaiters => Code::ResourceExhausted,
            Self::Database(DatabaseError::Unavailable { .. }) => Code::Unavailable,
            Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Exists(_) | Self::NamedAlike(_) => "EXISTS",
            Self::Invalid { .. } => "INVALID",
            Self::NotFound(_) => "NOT_FOUND",
            Self::Denied(_) => "DENIED",
            Self::NoToken(_) => "UNAUTHENTICATED",
            Self::TooManyTokens => "TOO_MANY_TOKENS",
            Self::Refused(_) | Self::ProviderOwned(_) => "REFUSED",
            Self::Scim(error) => error.kind.reason(),
            Self::OtherVersion => "SCIM_OTHER_VERSION",
            Self::LoginRefused(_) => "LOGIN_REFUSED",
            Self::AwaitsApproval => "AWAITS_APPROVAL",
            Self::Provider(_) => "PROVIDER",
            Self::Trail(..) => "SERVICE",
            Self::Sealed(..) => "SEALED",
            Self::Saml(..) => "SAML",
            Self::TooManyAttempts => "TOO_MANY_ATTEMPTS",
            Self::TooManyLogins => "TOO_MANY_LOGINS",
            Self::LoginsTooFast(_) => "LOGINS_TOO_FAST",
            Self::TooManyOfLogin | Self::TooManyWaiters => "TOO_MANY_WAITERS",
            Self::Database(_) => "DATABASE",
        }
    }

    fn retry_after(&self) -> Duration {
        match self {
            // Rounded up, because a client that asks too early is refused again.
            Self::LoginsTooFast(wait) => Duration::from_secs(wait.as_secs() + 1),
            Self::TooManyLogins | Self::TooManyWaiters | Self::TooManyTokens => {
                Duration::from_secs(60)
            }
            Self::TooManyOfLogin => Duration::from_secs(10),
            Self::TooManyAttempts => Duration::from_secs(600),
            _ => Duration::from_secs(1),
        }
    }
}

impl From<IdentityError> for Status {
    fn from(error: IdentityError) -> Self {
        bowline_service_kit::to_status(&error)
    }
}
