//! Errors on their way to a caller: nine codes, a reason a program can read, and when to try again.

use std::error::Error;
use std::time::Duration;

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

/// The reason of a call that is refused before it runs: the kind of caller, the role or the scopes do not allow it, or the token is
/// for another tailnet.
pub const CALL_DENIED: &str = "CALL_DENIED";

/// What kind of failure an answer tells; callers retry only the last two but one, [`Self::ResourceExhausted`] and
/// [`Self::Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request can not be right.
    InvalidArgument,
    /// The caller is not proven.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// What the request names is not there.
    NotFound,
    /// What the request makes is there already.
    AlreadyExists,
    /// The request is right, the state is not.
    FailedPrecondition,
    /// A limit is reached; later it may not be.
    ResourceExhausted,
    /// The service can not answer now.
    Unavailable,
    /// The service has a defect.
    Internal,
}

/// An error of a service's operation, as its callers see it.
pub trait ServiceError: Error + 'static {
    /// Returns the kind of failure.
    fn code(&self) -> Code;

    /// Returns the cause for programs, in `UPPER_SNAKE_CASE`; unknown ones degrade to the code.
    fn reason(&self) -> &'static str;

    /// Returns when trying again makes sense; told with the two codes that are retried.
    fn retry_after(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Returns the status that tells an error: the message, the reason, and when to retry.
///
/// A defect keeps its message to the log.
#[must_use]
pub fn to_status(error: &impl ServiceError) -> Status {
    let mut details = ErrorDetails::with_error_info(error.reason(), "bowline", []);
    let code = error.code();
    if matches!(code, Code::ResourceExhausted | Code::Unavailable) {
        details.set_retry_info(Some(error.retry_after()));
    }
    let message = if code == Code::Internal {
        tracing::error!(
            error = error as &dyn Error,
            reason = error.reason(),
            "internal error"
        );
        "internal error".to_owned()
    } else {
        error.to_string()
    };
    Status::with_error_details(code.into(), message, details)
}

/// Returns the status of a call that its caller may not make, whoever the answer is for.
pub(crate) fn deny_call(message: String) -> Status {
    let details = ErrorDetails::with_error_info(CALL_DENIED, "bowline", []);
    Status::with_error_details(tonic::Code::PermissionDenied, message, details)
}

/// Returns the status of a call whose caller is of a release too old for the deployment.
pub(crate) fn refuse_caller(message: String) -> Status {
    let details = ErrorDetails::with_error_info("SCHEMA_LEVEL", "bowline", []);
    Status::with_error_details(tonic::Code::FailedPrecondition, message, details)
}

/// Returns the reason in a status, if it has one.
#[must_use]
pub fn status_reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// Returns when to try again: `None` when that is of no use.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    let can_help = matches!(
        status.code(),
        tonic::Code::ResourceExhausted | tonic::Code::Unavailable
    );
    let told = || {
        status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay)
    };
    can_help.then(|| told().unwrap_or(Duration::from_secs(1)))
}

impl From<Code> for tonic::Code {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::InvalidArgument,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::Unavailable => Self::Unavailable,
            Code::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
