//! `bowline control-keys`.

use std::path::PathBuf;

use bowline_control_keys::{ControlKeyError, ControlKeys};
use bowline_keys::{MachinePublic, PrivateKey};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::{
    failure::{Failure, FailureKind},
    output::{Printer, Row},
};

/// What to do with control keys.
#[derive(Debug, Subcommand)]
pub enum ControlKeysCommand {
    /// Make both keys, once for all gateways; keys that are there stay.
    Create {
        /// Where to.
        directory: PathBuf,
    },
    /// Show the public halves.
    Show {
        /// Where they are.
        directory: PathBuf,
    },
    /// Make new keys; the newest become the previous ones, which go on working until they are retired.
    Roll {
        /// Where they are.
        directory: PathBuf,
    },
    /// Remove the previous keys: clients that still hold them have to be started again.
    Retire {
        /// Where they are.
        directory: PathBuf,
    },
}

/// A key as shown.
#[derive(Debug, Serialize)]
struct ControlKeyRow {
    transport: &'static str,
    age: &'static str,
    public: String,
}

impl Row for ControlKeyRow {
    const HEADS: &'static [&'static str] = &["transport", "age", "public"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.transport.to_owned(),
            self.age.to_owned(),
            self.public.clone(),
        ]
    }
}

/// Runs a command.
pub fn run(command: &ControlKeysCommand, printer: &Printer) -> Result<(), Failure> {
    match command {
        ControlKeysCommand::Create { directory } => {
            ControlKeys::create(directory)?;
            let text = format!(
                "control keys are in {}: keep them, every gateway needs the same",
                directory.display()
            );
            printer.print_result(&json!({ "directory": directory }), &text);
        }
        ControlKeysCommand::Show { directory } => {
            printer.print_rows(&control_key_rows(&ControlKeys::load(directory)?))
        }
        ControlKeysCommand::Roll { directory } => {
            ControlKeys::roll(directory)?;
            let place = directory.display();
            let text = format!(
                "new control keys are in {place}: give them to every gateway and start it again; when all clients have been started again, too, `bowline control-keys retire {place}`"
            );
            printer.print_result(&json!({ "directory": directory }), &text);
        }
        ControlKeysCommand::Retire { directory } => {
            if !ControlKeys::retire(directory)? {
                let text = format!(
                    "there are no previous control keys in {}",
                    directory.display()
                );
                return Err(Failure::new(FailureKind::NotFound, text));
            }
            let text = format!(
                "the previous control keys are gone from {}: start every gateway again without them",
                directory.display()
            );
            printer.print_result(&json!({ "directory": directory }), &text);
        }
    }
    Ok(())
}

fn control_key_rows(keys: &ControlKeys) -> Vec<ControlKeyRow> {
    let public = |key: &PrivateKey| MachinePublic::from_bytes(key.public_bytes()).to_string();
    let rings = [("noise", &keys.noise), ("legacy", &keys.legacy)];
    let keys = rings.into_iter().flat_map(|(transport, ring)| {
        let ages = ["newest", "previous"];
        ring.iter().zip(ages).map(move |(key, age)| ControlKeyRow {
            transport,
            age,
            public: public(key),
        })
    });
    keys.collect()
}

impl From<ControlKeyError> for Failure {
    fn from(error: ControlKeyError) -> Self {
        let kind = match error {
            ControlKeyError::Missing(_) => FailureKind::NotFound,
            ControlKeyError::Rolling(_) | ControlKeyError::CutShort(_) => FailureKind::Refused,
            ControlKeyError::File { .. } | ControlKeyError::Text { .. } => FailureKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}
