//! `bowline import`: a network moves here from another server.

mod report;
mod target;
mod write;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bowline_clock::{Clock as _, SystemClock};
use bowline_headscale::{
    HeadscaleConfig, HeadscaleError, MovingPlan, PolicySource, plan_move, read_database,
};
use bowline_keys::{MachinePublic, PrivateKey};
use clap::{Args, Subcommand};

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
    policy::DocumentFindings,
};
use report::list_rows;
use target::Target;

/// Where a network comes from.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// From headscale 0.26 to 0.29: users, devices with their keys, addresses and names, routes, policy, DNS settings, and the
    /// key that clients know the server by. Devices come back without a login. Stop headscale first; a dry run needs no stop.
    ///
    /// What is here already stays as it is, so that an import that failed is repeated.
    Headscale(HeadscaleArgs),
}

/// Which headscale, and where to.
#[derive(Debug, Args)]
pub struct HeadscaleArgs {
    /// Its settings file, config.yaml.
    config: PathBuf,
    /// Its database where the settings do not say it: a file, or postgres://USER:PASSWORD@HOST/NAME.
    #[arg(long)]
    database: Option<String>,
    /// A policy file instead of the one that the settings name.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Its key file, noise_private.key, where the settings do not say it.
    #[arg(long)]
    noise_key: Option<PathBuf>,
    /// The directory with this server's control keys; that of the local server when not given.
    #[arg(long)]
    control_keys: Option<PathBuf>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// A key that clients know a server by, and where it goes.
struct MovingKey {
    key: PrivateKey,
    /// The control keys that it joins; `None` where nothing says where they are.
    directory: Option<PathBuf>,
}

impl MovingKey {
    fn public(&self) -> String {
        MachinePublic::from_bytes(self.key.public_bytes()).to_string()
    }
}

/// Runs a command.
pub async fn run(
    command: ImportCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let ImportCommand::Headscale(args) = command;
    let mut config = HeadscaleConfig::load(&args.config)?;
    if let Some(database) = &args.database {
        config.database_url = match database.contains("://") {
            true => database.clone(),
            false => format!("sqlite://{database}"),
        };
    }
    if let Some(policy) = &args.policy {
        config.policy = PolicySource::File(policy.clone());
    }
    let data = read_database(&config.database_url).await?;
    let policy = match &config.policy {
        PolicySource::File(path) => Some(read_text(path)?),
        PolicySource::Database => data.policy.clone(),
        PolicySource::Absent => None,
    };
    let plan = plan_move(&data, &config, policy.as_deref(), SystemClock.now());
    refuse_wrong_policy(&plan, &config.policy, printer)?;
    let key = find_key(&args, &config, connection)?;
    let target = Target::find(&args.tailnet, connection, &plan).await?;
    let rows = list_rows(&plan, &target, key.as_ref());
    if !args.dry_run {
        write::write_plan(&plan, &target, connection).await?;
        // Last, because clients come back with it.
        if let Some(MovingKey {
            key,
            directory: Some(directory),
        }) = &key
        {
            bowline_control_keys::ControlKeys::adopt_noise(directory, key)?;
        }
    }
    printer.print_rows(&rows);
    printer.print_note(match args.dry_run {
        true => "nothing was changed: this was a dry run",
        false => {
            "all of this is here: the server, and every gateway with the directory, reads the control key within seconds"
        }
    });
    Ok(())
}

/// Refuses a policy that this server does not take, before anything is written.
fn refuse_wrong_policy(
    plan: &MovingPlan,
    source: &PolicySource,
    printer: &Printer,
) -> Result<(), Failure> {
    let Some(policy) = &plan.policy else {
        return Ok(());
    };
    let name = match source {
        PolicySource::File(path) => path.display().to_string(),
        _ => "policy".to_owned(),
    };
    let findings = DocumentFindings::of(&policy.verdict);
    findings.report_problems(printer, &name).map_err(|_| {
        let text = "nothing was changed: the policy has what this server does not take. Give a corrected one with --policy FILE";
        Failure::new(FailureKind::Refused, text)
    })
}

/// Reads the key that clients know the server by, and finds out where it goes.
fn find_key(
    args: &HeadscaleArgs,
    config: &HeadscaleConfig,
    connection: &ConnectionArgs,
) -> Result<Option<MovingKey>, Failure> {
    let Some(path) = args.noise_key.as_ref().or(config.noise_key.as_ref()) else {
        return Ok(None);
    };
    let key = read_text(path)?.trim_end().parse().map_err(|error| {
        Failure::new(FailureKind::Failed, format!("{}: {error}", path.display()))
    })?;
    let of_local_server = (!connection.is_elsewhere())
        .then(|| connection.state_dir.join("control-keys"))
        .filter(|directory| directory.is_dir());
    Ok(Some(MovingKey {
        key,
        directory: args.control_keys.clone().or(of_local_server),
    }))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(FailureKind::Failed, format!("{}: {error}", path.display())))
}

impl From<HeadscaleError> for Failure {
    fn from(error: HeadscaleError) -> Self {
        Self::new(FailureKind::Failed, error.to_string())
    }
}
