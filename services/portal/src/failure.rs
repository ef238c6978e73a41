//! What goes wrong on the way, and which page a person sees.

use bowline_service_kit::{CALL_DENIED, status_reason};
use tonic::{Code, Status};

/// What goes wrong.
#[derive(Debug)]
pub(crate) enum PageFailure {
    /// The request names another host than this server's.
    OtherHost,
    /// The form comes from a page of another origin.
    OtherOrigin,
    /// The browser has no secret of this server: cookies are off, or the login was begun in another one.
    NoBrowser,
    /// The form was not made for this attempt.
    WrongToken,
    /// The person is not signed in, or not any more.
    SignedOut,
    /// The link was used, or has ended.
    LinkUsed,
    /// There is no such login or attempt, not any more, or not in this browser.
    NotKnown,
    /// Identity refuses, in words for the person.
    Refused(String),
    /// The person's role does not allow this, or not any more.
    NotAllowed,
    /// The person waits until an administrator approves him or her.
    AwaitsApproval,
    /// Too many at once.
    Busy,
    /// Identity or the provider can not answer now.
    Unavailable(String),
}

impl From<Status> for PageFailure {
    fn from(status: Status) -> Self {
        match status_reason(&status).as_deref() {
            Some("AWAITS_APPROVAL") => return Self::AwaitsApproval,
            Some(CALL_DENIED) => return Self::NotAllowed,
            _ => {}
        }
        match status.code() {
            Code::NotFound => Self::NotKnown,
            Code::Unauthenticated => Self::SignedOut,
            Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::PermissionDenied => Self::Refused(status.message().to_owned()),
            Code::ResourceExhausted => Self::Busy,
            Code::Unavailable => Self::Unavailable(status.message().to_owned()),
            _ => {
                tracing::warn!(%status, "identity can not serve a page");
                Self::Unavailable(String::new())
            }
        }
    }
}

#[cfg(test)]
mod tests;
