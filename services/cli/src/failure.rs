//! What went wrong, in one line, and the exit code that says it to programs.

use std::{fmt, process::ExitCode};

use bowline_db::{BackupError, DatabaseError};
use bowline_service_kit::{RequestId, error_text};
use tonic::{Code, Status};

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    text: String,
}

/// Exit codes, stable for programs. Clap's own for wrong usage is 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// 1: it did not work.
    Failed = 1,
    /// 3: what was named is not there.
    NotFound = 3,
    /// 4: it may not be, or not now.
    Refused = 4,
    /// 5: the server can not be reached.
    Unavailable = 5,
}

impl Failure {
    /// Returns a failure of a kind.
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// Returns which kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }

    /// Says it on standard error.
    #[expect(
        clippy::print_stderr,
        reason = "this is where a command's failure is said"
    )]
    pub fn report_failure(&self) -> ExitCode {
        eprintln!("bowline: {}", self.text);
        ExitCode::from(self.exit_code())
    }
}

/// Returns a field that the server fills in.
///
/// # Errors
///
/// When the server left it out.
pub fn require_field<T>(field: Option<T>, name: &str) -> Result<T, Failure> {
    field.ok_or_else(|| {
        let text = format!(
            "the server's answer has no {name}: are this command and the server of the same release?"
        );
        Failure::new(FailureKind::Failed, text)
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let kind = match status.code() {
            Code::NotFound => FailureKind::NotFound,
            Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Unauthenticated => FailureKind::Refused,
            Code::Unavailable | Code::DeadlineExceeded => {
                let text = format!(
                    "the server can not be reached ({}): is `bowline serve` running, and is --state-dir its directory, or --address its administration address, with --ca for an authority of its own?",
                    status.message()
                );
                return Self::new(FailureKind::Unavailable, text);
            }
            _ => FailureKind::Failed,
        };
        // Of a defect only the log has more.
        let text = match (status.code(), RequestId::current()) {
            (Code::Internal | Code::Unknown, Some(id)) => format!(
                "{}: the logs of the server have more, in the lines with request_id {id}",
                status.message()
            ),
            _ => status.message().to_owned(),
        };
        Self::new(kind, text)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FailureKind::Failed, error_text(error.as_ref()))
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let kind = match error {
            BackupError::Database(DatabaseError::Unavailable { .. }) => FailureKind::Unavailable,
            BackupError::InUse { .. } | BackupError::NotEmpty { .. } => FailureKind::Refused,
            _ => FailureKind::Failed,
        };
        Self::new(kind, error_text(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(FailureKind::Failed, error.to_string())
    }
}

#[cfg(test)]
mod tests;
