//! `bowline sealing-key`.

use std::path::PathBuf;

use bowline_sealing::{SealingError, create_keys, retire_keys, roll_keys};
use clap::Subcommand;
use serde_json::json;

use crate::{
    failure::{Failure, FailureKind},
    output::Printer,
};

/// What to do with the sealing key.
#[derive(Debug, Subcommand)]
pub enum SealingKeyCommand {
    /// Make a key, once for all replicas of identity.
    Create {
        /// The file.
        file: PathBuf,
    },
    /// Put a new key before the others: it seals from the next start on, and the others still open.
    Roll {
        /// The file.
        file: PathBuf,
    },
    /// Forget all keys but the newest, once every replica has run with it and sealed its secrets again.
    Retire {
        /// The file.
        file: PathBuf,
    },
}

/// Runs a command.
pub fn run(command: &SealingKeyCommand, printer: &Printer) -> Result<(), Failure> {
    let (file, text) = match command {
        SealingKeyCommand::Create { file } => {
            create_keys(file)?;
            let place = file.display();
            (
                file,
                format!(
                    "a sealing key is in {place}: keep it apart from the database, and give it to every replica of identity"
                ),
            )
        }
        SealingKeyCommand::Roll { file } => {
            roll_keys(file)?;
            let place = file.display();
            let text = format!(
                "a new sealing key is in {place}: give the file to every replica of identity and start it again, then `bowline sealing-key retire {place}`"
            );
            (file, text)
        }
        SealingKeyCommand::Retire { file } => {
            if retire_keys(file)? == 0 {
                let text = format!("there is one sealing key in {} only", file.display());
                return Err(Failure::new(FailureKind::NotFound, text));
            }
            (
                file,
                format!("the older sealing keys are gone from {}", file.display()),
            )
        }
    };
    printer.print_result(&json!({ "file": file }), &text);
    Ok(())
}

impl From<SealingError> for Failure {
    fn from(error: SealingError) -> Self {
        let kind = match error {
            SealingError::Missing(_) => FailureKind::NotFound,
            SealingError::Exists(_) => FailureKind::Refused,
            SealingError::File { .. } | SealingError::Text { .. } | SealingError::Opening => {
                FailureKind::Failed
            }
        };
        Self::new(kind, error.to_string())
    }
}
