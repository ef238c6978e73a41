//! `bowline audit`: the trails of the three services that own something, as one.

mod heads;
mod row;
mod trails;

use std::time::Duration;

use bowline_proto::{audit::v1::ListAuditRequest, time::to_timestamp};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::{Printer, Row, yes_mark},
};
use heads::HeadArgs;
use row::{AuditRow, encode_hex};
use trails::{AuditOwner, MergedTrails, OWNERS};

/// How often it is looked for new entries.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// What to do with the audit trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show entries, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        filter: EntryFilter,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Write entries as lines of JSON, oldest first.
    Export {
        /// Go on with new entries as they come, until the command is ended.
        #[arg(long, short, conflicts_with = "before")]
        follow: bool,
        #[command(flatten)]
        filter: EntryFilter,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Say whether every entry follows from the one before.
    ///
    /// Whether the trails were computed again, or newest entries were taken away, is known with --heads alone.
    Verify {
        #[command(flatten)]
        heads: HeadArgs,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// Which entries.
#[derive(Debug, Args)]
pub struct EntryFilter {
    /// Only what this actor did, such as user:amira@example.com, by any credential, or admin:ops.
    #[arg(long)]
    actor: Option<String>,
    /// Only this action, such as node.approve, or all of a noun, such as node.
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this, as the column `object` names it: the number of a device, the name of a user.
    #[arg(long)]
    target: Option<String>,
    /// Only the trail of this service.
    #[arg(long, value_enum)]
    owner: Option<AuditOwner>,
    /// Only entries at this time or later, such as 2026-11-26T18:00:00Z.
    #[arg(long)]
    since: Option<DateTime<Utc>>,
    /// Only entries before this time, such as 2026-11-26T18:00:00Z: the last one shown continues a list.
    #[arg(long, visible_alias = "until")]
    before: Option<DateTime<Utc>>,
}

impl EntryFilter {
    fn owners(&self) -> Vec<AuditOwner> {
        self.owner.map_or(OWNERS.to_vec(), |owner| vec![owner])
    }

    fn to_request(&self, tailnet_id: u64) -> ListAuditRequest {
        ListAuditRequest {
            tailnet_id,
            before_time: self.before.map(to_timestamp),
            since_time: self.since.map(to_timestamp),
            actor: self.actor.clone().unwrap_or_default(),
            action: self.action.clone().unwrap_or_default(),
            object: self.target.clone().unwrap_or_default(),
            ..ListAuditRequest::default()
        }
    }
}

/// What a check of one owner's trail found.
#[derive(Debug, Serialize)]
struct ChainVerdict {
    owner: &'static str,
    entries: u64,
    whole: bool,
    broken_sequence: Option<u64>,
    head_hash: String,
}

impl Row for ChainVerdict {
    const HEADS: &'static [&'static str] = &["trail", "entries", "whole", "broken at", "head"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.owner.to_owned(),
            self.entries.to_string(),
            yes_mark(self.whole),
            self.broken_sequence
                .map(|sequence| sequence.to_string())
                .unwrap_or_default(),
            self.head_hash.clone(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: AuditCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        AuditCommand::List {
            limit,
            filter,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = ListAuditRequest {
                limit,
                ..filter.to_request(tailnet_id)
            };
            let trails = MergedTrails::new(&filter.owners(), &request);
            printer.print_rows(&newest_entries(connection, trails, limit).await?);
            Ok(())
        }
        AuditCommand::Export {
            follow,
            filter,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = ListAuditRequest {
                oldest_first: true,
                ..filter.to_request(tailnet_id)
            };
            let trails = MergedTrails::new(&filter.owners(), &request);
            export_entries(connection, trails, follow, printer).await
        }
        AuditCommand::Verify { heads, tailnet } => {
            if heads.are_given() {
                return heads::verify_trails(connection, &heads, &tailnet, printer).await;
            }
            let tailnet_id = tailnet.find_id(connection).await?;
            verify_chains(connection, tailnet_id, printer).await
        }
    }
}

/// Returns the newest entries of all trails.
async fn newest_entries(
    connection: &ConnectionArgs,
    mut trails: MergedTrails,
    limit: u32,
) -> Result<Vec<AuditRow>, Failure> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut shown: Vec<AuditRow> = Vec::new();
    while let Some((owner, entry)) = trails.next_entry(connection).await? {
        let entry = AuditRow::new(owner, entry)?;
        // Entries of one instant are never split: `--before` leaves that instant out.
        let continues = shown.last().is_some_and(|last| last.time == entry.time);
        if shown.len() >= most && !continues {
            break;
        }
        shown.push(entry);
    }
    Ok(shown)
}

/// Writes the entries of all trails as lines, and goes on until nobody reads any more.
async fn export_entries(
    connection: &ConnectionArgs,
    mut trails: MergedTrails,
    follow: bool,
    printer: &Printer,
) -> Result<(), Failure> {
    loop {
        while let Some((owner, entry)) = trails.next_entry(connection).await? {
            let line = serde_json::to_string(&AuditRow::new(owner, entry)?);
            let line =
                line.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
            if !printer.write_line(&line)? {
                return Ok(());
            }
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        trails.look_again();
    }
}

async fn verify_chains(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut verdicts = Vec::new();
    for owner in OWNERS {
        let found = owner.verify_chain(connection, tailnet_id).await?;
        verdicts.push(ChainVerdict {
            owner: owner.name(),
            entries: found.entries,
            whole: found.broken_sequence == 0,
            broken_sequence: Some(found.broken_sequence).filter(|broken| *broken != 0),
            head_hash: encode_hex(&found.head_hash),
        });
    }
    printer.print_rows(&verdicts);
    let broken = verdicts.iter().find_map(|verdict| {
        let sequence = verdict.broken_sequence?;
        Some(format!(
            "entry {sequence} of the trail of {} is missing or was changed",
            verdict.owner
        ))
    });
    broken.map_or(Ok(()), |text| Err(Failure::new(FailureKind::Failed, text)))
}
