//! `bowline sealing-key`.

use std::path::{Path, PathBuf};

use bowline_sealing::{
    SealingError, activate_keys, create_keys, drop_prepared_keys, load_keys, prepare_keys,
    retire_keys,
};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::{
    failure::{Failure, FailureKind},
    output::{Printer, Row},
};

/// What to do with the sealing key.
#[derive(Debug, Subcommand)]
pub enum SealingKeyCommand {
    /// Make a key, once for all replicas of identity.
    Create {
        /// The file.
        file: PathBuf,
    },
    /// Show which keys there are, by their ids, and what each is used for.
    Show {
        /// The file.
        file: PathBuf,
    },
    /// Add the next key: replicas with it open what is sealed with it, and seal with the active one still.
    Prepare {
        /// The file.
        file: PathBuf,
    },
    /// Let the prepared key seal from the next start on, once every replica runs with it; the others still open.
    Activate {
        /// The file.
        file: PathBuf,
    },
    /// Take the prepared key back, before it is activated.
    DropPrepared {
        /// The file.
        file: PathBuf,
    },
    /// Prepare and activate at once: for a single replica.
    Roll {
        /// The file.
        file: PathBuf,
    },
    /// Forget the old keys, once every replica has run with the active one and sealed its secrets again.
    Retire {
        /// The file.
        file: PathBuf,
    },
}

/// A key as shown.
#[derive(Debug, Serialize)]
struct SealingKeyRow {
    key: String,
    state: &'static str,
}

impl Row for SealingKeyRow {
    const HEADS: &'static [&'static str] = &["key", "state"];

    fn table_cells(&self) -> Vec<String> {
        vec![self.key.clone(), self.state.to_owned()]
    }
}

/// Runs a command.
pub fn run(command: &SealingKeyCommand, printer: &Printer) -> Result<(), Failure> {
    let (file, text) = match command {
        SealingKeyCommand::Show { file } => {
            let keys = load_keys(file)?;
            let rows = keys.describe().map(|(state, key)| SealingKeyRow {
                key,
                state: state.as_str(),
            });
            printer.print_rows(&rows.collect::<Vec<_>>());
            return Ok(());
        }
        SealingKeyCommand::Create { file } => {
            create_keys(file)?;
            let text = format!(
                "a sealing key is in {}: keep it apart from the database, and give it to every replica of identity",
                file.display()
            );
            (file, text)
        }
        SealingKeyCommand::Prepare { file } => {
            prepare_keys(file)?;
            let place = file.display();
            let text = format!(
                "the next sealing key is in {place}: give the file to every replica of identity and start it again, then `bowline sealing-key activate {place}`"
            );
            (file, text)
        }
        SealingKeyCommand::Activate { file } => {
            activate_keys(file)?;
            (file, activated_text(file))
        }
        SealingKeyCommand::DropPrepared { file } => {
            if !drop_prepared_keys(file)? {
                let text = format!("there is no prepared sealing key in {}", file.display());
                return Err(Failure::new(FailureKind::NotFound, text));
            }
            let text = format!("the prepared sealing key is gone from {}", file.display());
            (file, text)
        }
        SealingKeyCommand::Roll { file } => {
            prepare_keys(file)?;
            activate_keys(file)?;
            (file, activated_text(file))
        }
        SealingKeyCommand::Retire { file } => {
            if retire_keys(file)? == 0 {
                let text = format!("there are no old sealing keys in {}", file.display());
                return Err(Failure::new(FailureKind::NotFound, text));
            }
            let text = format!(
                "the old sealing keys are gone from {}: give the file to every replica of identity",
                file.display()
            );
            (file, text)
        }
    };
    printer.print_result(&json!({ "file": file }), &text);
    Ok(())
}

fn activated_text(file: &Path) -> String {
    let place = file.display();
    format!(
        "the new sealing key in {place} seals: give the file to every replica of identity and start it again, then `bowline sealing-key retire {place}`"
    )
}

impl From<SealingError> for Failure {
    fn from(error: SealingError) -> Self {
        let kind = match error {
            SealingError::Missing(_) => FailureKind::NotFound,
            SealingError::Exists(_) | SealingError::NotPrepared(_) => FailureKind::Refused,
            SealingError::File { .. } | SealingError::Text { .. } | SealingError::Opening => {
                FailureKind::Failed
            }
        };
        Self::new(kind, error.to_string())
    }
}
