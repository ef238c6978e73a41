//! Why a call with an idempotency key is refused.

use bowline_service_kit::{Code, ServiceError};

use crate::DatabaseError;

/// Why a call with an idempotency key was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum RepeatError {
    /// It is no key.
    #[error(
        "idempotency-key: has to be one random text of 16 to 64 printable ASCII characters without spaces, such as a UUID"
    )]
    Key,
    /// The request is cut short, or too long.
    #[error("the request is cut short or longer than {0} bytes")]
    Request(usize),
    /// The key is that of another request.
    #[error(
        "idempotency-key: this key was used for another request: choose a new one for each, and repeat a request as it was"
    )]
    OtherRequest,
    /// The first call with the key is not over.
    #[error("a call with this idempotency key is under way: try again")]
    Busy,
    /// The tailnet has as many as it may.
    #[error(
        "the tailnet has had as many calls with idempotency keys within a day as it may: try again later, or without a key"
    )]
    TooMany,
    /// The answer is too long to be kept.
    #[error(
        "the answer of {0} bytes is too long to be kept for repeats: ask for less at once, or call without an idempotency key"
    )]
    TooLong(usize),
    /// The row does not open.
    #[error("a kept answer is damaged")]
    Damaged,
    /// The database failed.
    #[error("the kept answers can not be read: {0}")]
    Database(#[from] DatabaseError),
}

impl ServiceError for RepeatError {
    fn code(&self) -> Code {
        match self {
            Self::Key | Self::Request(_) | Self::OtherRequest | Self::TooLong(_) => {
                Code::InvalidArgument
            }
            Self::Busy | Self::Database(DatabaseError::Unavailable { .. }) => Code::Unavailable,
            Self::TooMany => Code::ResourceExhausted,
            Self::Damaged | Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Key | Self::Request(_) => "INVALID",
            Self::OtherRequest => "IDEMPOTENCY_KEY_REUSED",
            Self::Busy => "IDEMPOTENCY_KEY_BUSY",
            Self::TooMany => "TOO_MANY_IDEMPOTENCY_KEYS",
            Self::TooLong(_) => "ANSWER_TOO_LONG",
            Self::Damaged => "BROKEN",
            Self::Database(_) => "DATABASE",
        }
    }
}
