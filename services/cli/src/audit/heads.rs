//! `bowline audit verify --heads`: follows the trails here, and compares them with heads that were exported. The server is
//! believed nothing but the entries.

mod exported;

use std::{collections::BTreeSet, path::PathBuf};

use bowline_audit_heads::{AuditPublicKey, CheckedTrail, SignedHead, TrailBreak, TrailCheck};
use bowline_clock::{Clock as _, SystemClock};
use bowline_db::AuditEntry;
use bowline_ids::TailnetId;
use bowline_proto::audit::v1::ListAuditRequest;
use chrono::{SecondsFormat, TimeDelta};
use clap::Args;
use serde::Serialize;

use self::exported::ExportedHeads;
use super::trails::{AuditOwner, OWNERS, Trail};
use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::{Printer, Row, yes_mark},
    time,
};

/// What trails are compared with.
#[derive(Debug, Args)]
pub struct HeadArgs {
    /// Files of heads that were exported, to compare the trails with: all of all owners. They find rewritten trails, and ends
    /// that were cut off.
    #[arg(long)]
    heads: Vec<PathBuf>,
    /// A public audit key, as bowline audit-key show prints it: only heads that it has signed count.
    #[arg(long, requires = "heads")]
    signed_by: Vec<AuditPublicKey>,
    /// Only the trails of this tailnet, which may be deleted, and not of all that the heads name.
    #[arg(long, requires = "heads", value_name = "NUMBER")]
    tailnet_id: Option<u64>,
    /// Fail when the newest head of a trail is older, such as 25h: all are exported at least once a day.
    #[arg(long, requires = "heads", value_parser = time::parse_duration)]
    max_age: Option<TimeDelta>,
    /// The hash of an entry epoch.begin, as this command names it: you restored a backup then, and what was exported before
    /// and went on elsewhere is not compared.
    #[arg(long, requires = "heads", value_name = "HASH", value_parser = read_hash)]
    accept_break: Vec<[u8; 32]>,
}

impl HeadArgs {
    pub(super) fn are_given(&self) -> bool {
        !self.heads.is_empty()
    }

    /// Returns whose trails are verified. The server is not asked which number a name has: it could name another.
    fn tailnet_ids(
        &self,
        heads: &ExportedHeads,
        tailnet: &TailnetArg,
    ) -> Result<Vec<u64>, Failure> {
        if let Some(id) = self.tailnet_id {
            return Ok(vec![id]);
        }
        let Some(name) = tailnet.name() else {
            return Ok(heads.tailnet_ids());
        };
        let id = name.parse().map_err(|_| {
            let text = "with --heads a tailnet is named by its number, as heads have it: --tailnet-id NUMBER";
            Failure::new(FailureKind::Refused, text)
        })?;
        Ok(vec![id])
    }
}

fn read_hash(text: &str) -> Result<[u8; 32], String> {
    let problem = "this is no hash: it has 64 hexadecimal digits";
    let bytes = hex::decode(text).map_err(|_| problem.to_owned())?;
    bytes.try_into().map_err(|_| problem.to_owned())
}

/// What became of one owner's trail.
#[derive(Debug, Serialize)]
struct HeadVerdict {
    tailnet_id: u64,
    owner: &'static str,
    entries: u64,
    whole: bool,
    /// The newest entry whose exported head agrees.
    confirmed: u64,
    /// When the newest head that counts was signed.
    newest_head_at: Option<String>,
    /// How many entries lie behind the newest that was confirmed: nothing outside of the server says what they were.
    unconfirmed: u64,
    broken_sequence: Option<u64>,
    problem: Option<String>,
}

impl Row for HeadVerdict {
    const HEADS: &'static [&'static str] = &[
        "tailnet",
        "trail",
        "entries",
        "whole",
        "confirmed to",
        "behind it",
        "newest head",
        "broken at",
        "problem",
    ];

    fn table_cells(&self) -> Vec<String> {
        let broken = self.broken_sequence.map(|sequence| sequence.to_string());
        vec![
            self.tailnet_id.to_string(),
            self.owner.to_owned(),
            self.entries.to_string(),
            yes_mark(self.whole),
            self.confirmed.to_string(),
            self.unconfirmed.to_string(),
            self.newest_head_at.clone().unwrap_or_default(),
            broken.unwrap_or_default(),
            self.problem.clone().unwrap_or_default(),
        ]
    }
}

/// Follows all trails that heads name, and says where one differs from what was exported.
pub(super) async fn verify_trails(
    connection: &ConnectionArgs,
    args: &HeadArgs,
    tailnet: &TailnetArg,
    printer: &Printer,
) -> Result<(), Failure> {
    let heads = ExportedHeads::read(&args.heads, &args.signed_by, printer)?;
    let accepted: BTreeSet<_> = args.accept_break.iter().copied().collect();
    let (mut verdicts, mut met) = (Vec::new(), BTreeSet::new());
    for tailnet_id in args.tailnet_ids(&heads, tailnet)? {
        for owner in OWNERS {
            let of_trail = heads.of_trail(tailnet_id, owner);
            let (entries, found) =
                follow_trail(connection, tailnet_id, owner, &of_trail, &accepted).await?;
            for epoch in found.iter().flat_map(|checked| &checked.accepted) {
                met.insert(epoch.hash);
            }
            verdicts.push(judge(tailnet_id, owner, &of_trail, entries, &found, args));
        }
    }
    printer.print_rows(&verdicts);
    let broken = verdicts.iter().find_map(|verdict| {
        let (owner, id) = (verdict.owner, verdict.tailnet_id);
        let problem = verdict.problem.as_ref()?;
        Some(format!("the trail of {owner} of tailnet {id}: {problem}"))
    });
    if let Some(text) = broken {
        return Err(Failure::new(FailureKind::Failed, text));
    }
    if let Some(hash) = accepted.difference(&met).next() {
        let text = format!(
            "no trail has an epoch.begin {}: nothing was accepted",
            hex::encode(hash)
        );
        return Err(Failure::new(FailureKind::NotFound, text));
    }
    heads.refuse_left_out()
}

/// Returns how many entries a trail has, up to where it breaks, and what it is.
async fn follow_trail(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    owner: AuditOwner,
    heads: &[SignedHead],
    accepted: &BTreeSet<[u8; 32]>,
) -> Result<(u64, Result<CheckedTrail, TrailBreak>), Failure> {
    let failed = |error: &dyn ToString| Failure::new(FailureKind::Failed, error.to_string());
    let tailnet = TailnetId::try_from(tailnet_id).map_err(|error| failed(&error))?;
    let request = ListAuditRequest {
        tailnet_id,
        oldest_first: true,
        ..ListAuditRequest::default()
    };
    let mut trail = Trail::new(owner, request);
    let mut check = TrailCheck::new(tailnet, heads, accepted);
    let mut entries = 0;
    while trail.peek(connection).await?.is_some() {
        let Some(entry) = trail.take() else { break };
        entries += 1;
        let entry = AuditEntry::try_from(entry).map_err(|error| failed(&error))?;
        if let Err(found) = check.take_entry(&entry) {
            return Ok((entries, Err(found)));
        }
    }
    Ok((entries, check.finish()))
}

/// Says what is wrong with a trail, if anything is. One that nothing was compared with is not whole.
fn judge(
    tailnet_id: u64,
    owner: AuditOwner,
    heads: &[SignedHead],
    entries: u64,
    found: &Result<CheckedTrail, TrailBreak>,
    args: &HeadArgs,
) -> HeadVerdict {
    let newest = heads.iter().filter_map(SignedHead::signed_at).max();
    let oldest = args.max_age.map(|age| SystemClock.now() - age);
    let confirmed = found.as_ref().map_or(0, |checked| checked.confirmed);
    let problem = match (found, newest) {
        (Err(problem), _) => Some(problem.to_string()),
        (Ok(_), None) if entries > 0 => Some(format!(
            "it has {entries} entries, and no head of it counts: nothing was compared. Name the file of this owner, too (--heads audit-heads-{}.jsonl), or see why it exports none",
            owner.name()
        )),
        (Ok(_), Some(newest)) if oldest.is_some_and(|oldest| newest < oldest) => Some(format!(
            "its newest head is of {}: see why none was exported since",
            newest.to_rfc3339_opts(SecondsFormat::Secs, true)
        )),
        _ => None,
    };
    HeadVerdict {
        tailnet_id,
        owner: owner.name(),
        entries,
        whole: found.is_ok() && (newest.is_some() || entries == 0),
        confirmed,
        newest_head_at: newest.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
        unconfirmed: entries.saturating_sub(confirmed),
        broken_sequence: found.as_ref().err().map(TrailBreak::sequence),
        problem,
    }
}
