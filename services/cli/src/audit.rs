//! `bowline audit`: the trails of the three services that own something, as one.

use std::collections::VecDeque;

use bowline_proto::{
    audit::v1::{AuditEntry, ListAuditRequest, VerifyAuditRequest, VerifyAuditResponse},
    identity::v1::audit_service_client::AuditServiceClient as IdentityAudit,
    key_registry::v1::audit_service_client::AuditServiceClient as RegistryAudit,
    policy::v1::audit_service_client::AuditServiceClient as PolicyAudit,
    time::{from_timestamp, to_timestamp},
};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use prost_types::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
    output::{Printer, Row, yes_mark},
};

/// The most entries that one request brings.
const PAGE: u32 = 1000;

/// What to do with the audit trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show entries, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Only entries before this time, such as 2026-11-26T18:00:00Z: the last one shown continues a list.
        #[arg(long)]
        before: Option<DateTime<Utc>>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Say whether every entry follows from the one before, so that none was changed or taken away.
    Verify {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// A service that keeps a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuditOwner {
    Identity,
    KeyRegistry,
    PolicyCompiler,
}

const OWNERS: [AuditOwner; 3] = [
    AuditOwner::Identity,
    AuditOwner::KeyRegistry,
    AuditOwner::PolicyCompiler,
];

impl AuditOwner {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::KeyRegistry => "key-registry",
            Self::PolicyCompiler => "policy-compiler",
        }
    }

    async fn list_entries(
        self,
        connection: &ConnectionArgs,
        request: ListAuditRequest,
    ) -> Result<Vec<AuditEntry>, Failure> {
        let answer = match self {
            Self::Identity => {
                let mut client = IdentityAudit::new(connection.connect_to_identity()?);
                client.list_audit(request).await?
            }
            Self::KeyRegistry => {
                let client = RegistryAudit::new(connection.connect_to_registry()?);
                let mut client = client.max_decoding_message_size(1 << 30);
                client.list_audit(request).await?
            }
            Self::PolicyCompiler => {
                let mut client = PolicyAudit::new(connection.connect_to_compiler()?);
                client.list_audit(request).await?
            }
        };
        Ok(answer.into_inner().entries)
    }

    async fn verify_chain(
        self,
        connection: &ConnectionArgs,
        tailnet_id: u64,
    ) -> Result<VerifyAuditResponse, Failure> {
        let request = VerifyAuditRequest { tailnet_id };
        let answer = match self {
            Self::Identity => {
                let mut client = IdentityAudit::new(connection.connect_to_identity()?);
                client.verify_audit(request).await?
            }
            Self::KeyRegistry => {
                let mut client = RegistryAudit::new(connection.connect_to_registry()?);
                client.verify_audit(request).await?
            }
            Self::PolicyCompiler => {
                let mut client = PolicyAudit::new(connection.connect_to_compiler()?);
                client.verify_audit(request).await?
            }
        };
        Ok(answer.into_inner())
    }
}

/// One owner's entries, newest first, as far as they were read.
struct Trail {
    owner: AuditOwner,
    read: VecDeque<AuditEntry>,
    /// Entries with a smaller number are to be read; zero for all, `None` once there are no more.
    read_before: Option<u64>,
}

/// What a page of a trail has at most: entries before a time, and so many.
#[derive(Clone, Copy)]
struct PageBounds {
    before: Option<Timestamp>,
    limit: u32,
}

impl Trail {
    /// Reads on when all that was read is taken.
    async fn fill_page(
        &mut self,
        connection: &ConnectionArgs,
        tailnet_id: u64,
        page: PageBounds,
    ) -> Result<(), Failure> {
        let Some(before_sequence) = self.read_before.filter(|_| self.read.is_empty()) else {
            return Ok(());
        };
        let request = ListAuditRequest {
            tailnet_id,
            before_sequence,
            before_time: page.before,
            limit: page.limit.min(PAGE),
        };
        self.read = self.owner.list_entries(connection, request).await?.into();
        self.read_before = self
            .read
            .back()
            .map(|oldest| oldest.sequence)
            .filter(|oldest| *oldest > 1);
        Ok(())
    }
}

/// An entry as shown.
#[derive(Debug, Serialize)]
struct AuditRow {
    time: String,
    owner: &'static str,
    sequence: u64,
    actor: String,
    action: String,
    object: String,
    detail: Value,
    hash: String,
}

impl AuditRow {
    fn new(owner: AuditOwner, entry: AuditEntry) -> Result<Self, Failure> {
        let time = require_field(entry.time.and_then(from_timestamp), "time of an entry")?;
        Ok(Self {
            // Exact: it is what continues a list.
            time: time.to_rfc3339_opts(SecondsFormat::Micros, true),
            owner: owner.name(),
            sequence: entry.sequence,
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
            detail: serde_json::from_str(&entry.detail).unwrap_or(Value::String(entry.detail)),
            hash: encode_hex(&entry.hash),
        })
    }
}

impl Row for AuditRow {
    const HEADS: &'static [&'static str] = &["time", "actor", "action", "object", "detail"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.time.clone(),
            // Devices name themselves: nothing in a name may move the cursor.
            self.actor.escape_debug().to_string(),
            self.action.clone(),
            self.object.escape_debug().to_string(),
            self.detail.to_string(),
        ]
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
            before,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let before = before.map(to_timestamp);
            printer.print_rows(&newest_entries(connection, tailnet_id, before, limit).await?);
            Ok(())
        }
        AuditCommand::Verify { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
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
    }
}

/// Returns the newest entries of all trails.
async fn newest_entries(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    before: Option<Timestamp>,
    limit: u32,
) -> Result<Vec<AuditRow>, Failure> {
    let mut trails = OWNERS.map(|owner| Trail {
        owner,
        read: VecDeque::new(),
        read_before: Some(0),
    });
    let mut shown = Vec::new();
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    loop {
        for trail in &mut trails {
            trail
                .fill_page(connection, tailnet_id, PageBounds { before, limit })
                .await?;
        }
        let time = |trail: &&mut Trail| {
            let time = trail.read.front().and_then(|entry| entry.time);
            time.map(|time| (time.seconds, time.nanos))
        };
        let Some(newest) = trails.iter_mut().max_by_key(time) else {
            break;
        };
        let Some(entry) = newest.read.pop_front() else {
            break;
        };
        let entry = AuditRow::new(newest.owner, entry)?;
        // Entries of one instant are never split: `--before` leaves that instant out.
        let is_enough = shown.len() >= most;
        if is_enough
            && shown
                .last()
                .is_none_or(|last: &AuditRow| last.time != entry.time)
        {
            break;
        }
        shown.push(entry);
    }
    Ok(shown)
}

fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
