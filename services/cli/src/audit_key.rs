//! `bowline audit-key`.

use std::path::PathBuf;

use bowline_audit_heads::{AuditKey, AuditKeyError, create_audit_key};
use clap::Subcommand;
use serde_json::json;

use crate::{
    failure::{Failure, FailureKind},
    output::Printer,
};

/// What to do with the audit key.
#[derive(Debug, Subcommand)]
pub enum AuditKeyCommand {
    /// Make a key, once for all replicas of identity, key-registry and policy-compiler.
    Create {
        /// The file.
        file: PathBuf,
    },
    /// Show the public half, which heads are checked with.
    Show {
        /// The file.
        file: PathBuf,
    },
}

/// Runs a command.
pub fn run(command: &AuditKeyCommand, printer: &Printer) -> Result<(), Failure> {
    let (file, key) = match command {
        AuditKeyCommand::Create { file } => (file, create_audit_key(file)?),
        AuditKeyCommand::Show { file } => (file, AuditKey::load(file)?),
    };
    let public = key.public().to_string();
    printer.print_result(&json!({ "file": file, "public": public }), &public);
    Ok(())
}

impl From<AuditKeyError> for Failure {
    fn from(error: AuditKeyError) -> Self {
        let kind = match error {
            AuditKeyError::Exists(_) => FailureKind::Refused,
            AuditKeyError::File { .. } | AuditKeyError::Private | AuditKeyError::Public => {
                FailureKind::Failed
            }
        };
        Self::new(kind, error.to_string())
    }
}
