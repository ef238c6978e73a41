//! `bowline control-keys`.

mod gateways;

use std::path::{Path, PathBuf};

use bowline_control_keys::{ControlKeyError, ControlKeyInfo, ControlKeyState, ControlKeys};
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::{Printer, Row},
    time::parse_duration,
};
use gateways::{KeyDemand, wait_for_gateways};

/// How long a whole roll waits for the gateways unless it is told: each looks at its directory every five seconds.
const ROLL_PATIENCE: TimeDelta = TimeDelta::seconds(60);

/// What to do with control keys.
#[derive(Debug, Subcommand)]
pub enum ControlKeysCommand {
    /// Make both keys, once for all gateways; keys that are there stay.
    Create {
        /// Where to.
        directory: PathBuf,
    },
    /// Show the public halves, and what each key is used for.
    Show(KeysPlace),
    /// Make the next keys: gateways open what clients make with them, and offer clients the active ones still.
    Prepare(KeysPlace),
    /// Let clients be offered the prepared keys, once every gateway has them. The active ones become old, and go on working.
    Activate(PhaseArgs),
    /// Take the prepared keys back, before they are activated.
    DropPrepared(KeysPlace),
    /// Remove the old keys, once every gateway offers the active ones: clients that still hold the old ones have to be started again.
    Retire(PhaseArgs),
    /// Prepare, wait for every gateway, and activate: for a directory that the gateways read themselves.
    Roll(PhaseArgs),
    /// Print all keys, private halves included, as one text: what the gateways' control_keys_command is to print.
    Export(KeysPlace),
}

/// Where control keys are.
#[derive(Debug, Args)]
pub struct KeysPlace {
    /// Where they are; those of the local server when not given.
    directory: Option<PathBuf>,
}

/// A step that every gateway has to be ready for.
#[derive(Debug, Args)]
pub struct PhaseArgs {
    #[command(flatten)]
    place: KeysPlace,
    /// How long to wait until every gateway is ready, such as 60s or 5m; without it, not being ready is a refusal.
    #[arg(long, value_parser = parse_duration)]
    wait: Option<TimeDelta>,
    /// Do not ask the key registry what the gateways have, as where nothing runs.
    #[arg(long, conflicts_with = "wait")]
    without_checking: bool,
}

impl KeysPlace {
    fn resolve(&self, connection: &ConnectionArgs) -> Result<PathBuf, Failure> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None if connection.is_elsewhere() => {
                let text = "name the directory of the control keys: that of the gateways is not known here";
                Err(Failure::new(FailureKind::Failed, text))
            }
            None => Ok(connection.state_dir.join("control-keys")),
        }
    }
}

/// A key as shown.
#[derive(Debug, Serialize)]
struct ControlKeyRow {
    transport: &'static str,
    state: &'static str,
    public: String,
}

impl From<ControlKeyInfo> for ControlKeyRow {
    fn from(key: ControlKeyInfo) -> Self {
        Self {
            transport: key.transport.as_str(),
            state: key.state.as_str(),
            public: key.public.to_string(),
        }
    }
}

impl Row for ControlKeyRow {
    const HEADS: &'static [&'static str] = &["transport", "state", "public"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.transport.to_owned(),
            self.state.to_owned(),
            self.public.clone(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: ControlKeysCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let tell = |directory: &Path, text: &str| {
        printer.print_result(&json!({ "directory": directory }), text);
    };
    match command {
        ControlKeysCommand::Create { directory } => {
            ControlKeys::create(&directory)?;
            let place = directory.display();
            let text =
                format!("control keys are in {place}: keep them, every gateway needs the same");
            tell(&directory, &text);
        }
        ControlKeysCommand::Show(place) => {
            let keys = ControlKeys::load(&place.resolve(connection)?)?.describe();
            let rows: Vec<_> = keys.into_iter().map(ControlKeyRow::from).collect();
            printer.print_rows(&rows);
        }
        ControlKeysCommand::Prepare(place) => {
            let directory = place.resolve(connection)?;
            ControlKeys::prepare(&directory)?;
            let place = directory.display();
            let text = format!(
                "the next control keys are in {place}: give the directory to every gateway, each reads it again by itself; then `bowline control-keys activate {place} --wait 60s`"
            );
            tell(&directory, &text);
        }
        ControlKeysCommand::Activate(args) => {
            let directory = args.place.resolve(connection)?;
            activate(&directory, &args, connection, *printer).await?;
            tell(&directory, &activated_text(&directory));
        }
        ControlKeysCommand::DropPrepared(place) => {
            let directory = place.resolve(connection)?;
            if !ControlKeys::drop_prepared(&directory)? {
                return Err(nothing_there("prepared", &directory));
            }
            let place = directory.display();
            let text = format!(
                "the prepared control keys are gone from {place}: give the directory to every gateway"
            );
            tell(&directory, &text);
        }
        ControlKeysCommand::Retire(args) => {
            let directory = args.place.resolve(connection)?;
            retire(&directory, &args, connection, *printer).await?;
            let place = directory.display();
            let text = format!(
                "the old control keys are gone from {place}: give the directory to every gateway"
            );
            tell(&directory, &text);
        }
        ControlKeysCommand::Roll(mut args) => {
            let directory = args.place.resolve(connection)?;
            ControlKeys::prepare(&directory)?;
            args.wait = args.wait.or(Some(ROLL_PATIENCE));
            activate(&directory, &args, connection, *printer).await?;
            tell(&directory, &activated_text(&directory));
        }
        ControlKeysCommand::Export(place) => {
            let keys = ControlKeys::load(&place.resolve(connection)?)?;
            let text = keys.expose_text();
            printer.print_document(&json!({ "control_keys": *text }), &text);
        }
    }
    Ok(())
}

fn activated_text(directory: &Path) -> String {
    let place = directory.display();
    format!(
        "the prepared control keys in {place} are active: give the directory to every gateway; when all clients have been started again, too, `bowline control-keys retire {place}`"
    )
}

fn nothing_there(state: &str, directory: &Path) -> Failure {
    let place = directory.display();
    let text = format!("there are no {state} control keys in {place}");
    Failure::new(FailureKind::NotFound, text)
}

async fn activate(
    directory: &Path,
    args: &PhaseArgs,
    connection: &ConnectionArgs,
    printer: Printer,
) -> Result<(), Failure> {
    ControlKeys::check_prepared(directory)?;
    if !args.without_checking {
        // In the midst of an activation that was cut short, the next key of one transport is the active one.
        let keys = ControlKeys::load(directory)?.describe().into_iter();
        let next = keys.filter(|key| key.state != ControlKeyState::Old);
        let mut next: Vec<_> = next.collect();
        let all = next.clone();
        next.retain(|key| {
            let is_next = |other: &ControlKeyInfo| {
                other.transport == key.transport && other.state == ControlKeyState::Prepared
            };
            key.state == ControlKeyState::Prepared || !all.iter().any(is_next)
        });
        let demand = KeyDemand::Known(next);
        wait_for_gateways(&demand, args.wait, connection, printer).await?;
    }
    Ok(ControlKeys::activate(directory)?)
}

async fn retire(
    directory: &Path,
    args: &PhaseArgs,
    connection: &ConnectionArgs,
    printer: Printer,
) -> Result<(), Failure> {
    if !ControlKeys::has_old(directory)? {
        return Err(nothing_there("old", directory));
    }
    if !args.without_checking {
        let mut keys = ControlKeys::load(directory)?.describe();
        keys.retain(|key| key.state == ControlKeyState::Active);
        let demand = KeyDemand::Offered(keys);
        wait_for_gateways(&demand, args.wait, connection, printer).await?;
    }
    ControlKeys::retire(directory)?;
    Ok(())
}

impl From<ControlKeyError> for Failure {
    fn from(error: ControlKeyError) -> Self {
        let kind = match error {
            ControlKeyError::Missing(_) => FailureKind::NotFound,
            ControlKeyError::OldInUse(_)
            | ControlKeyError::HalfPrepared(_)
            | ControlKeyError::NotPrepared(_)
            | ControlKeyError::Prepared(_)
            | ControlKeyError::CutShort(_) => FailureKind::Refused,
            ControlKeyError::File { .. }
            | ControlKeyError::Text { .. }
            | ControlKeyError::Line(_)
            | ControlKeyError::Count(..) => FailureKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}
