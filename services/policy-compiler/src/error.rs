//! Why the compiler refuses, in its callers' words.

use bowline_db::DatabaseError;
use bowline_service_kit::{Code, ServiceError};
use tonic::Status;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// A field can not be right.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong and what is right.
        problem: String,
    },
    /// Somebody else stored a version meanwhile.
    #[error("version {found} is in force, not {expected}: read it, and apply your change to it")]
    LostRace {
        /// The version the author saw.
        expected: u64,
        /// The version in force.
        found: u64,
    },
    /// What the request names is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Identity or the registry could not be heard yet.
    #[error("the users and nodes of the tailnet are not known yet: try again in a moment")]
    NotReady,
    /// The process ends: another replica, or the next start, can answer.
    #[error("the service is ending: try again in a moment")]
    Ending,
    /// A fault of this program.
    #[error("the policy could not be compiled: the log of the policy compiler says why")]
    Broken,
    /// The database's fault.
    #[error("the policy store can not answer: {0}")]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for CompilerError {
    fn from(error: sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl ServiceError for CompilerError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::LostRace { .. } => Code::FailedPrecondition,
            Self::NotFound(_) => Code::NotFound,
            Self::NotReady | Self::Ending | Self::Database(DatabaseError::Unavailable { .. }) => {
                Code::Unavailable
            }
            Self::Broken | Self::Database(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "INVALID",
            Self::LostRace { .. } => "LOST_RACE",
            Self::NotFound(_) => "NOT_FOUND",
            Self::NotReady => "NOT_READY",
            Self::Ending => "ENDING",
            Self::Broken => "BROKEN",
            Self::Database(_) => "DATABASE",
        }
    }
}

impl From<CompilerError> for Status {
    fn from(error: CompilerError) -> Self {
        bowline_service_kit::to_status(&error)
    }
}
