//! `bowline audit verify --heads`: follows the trails here, and compares them with heads that were exported. The server is
//! believed nothing but the entries.

use std::{collections::BTreeSet, fs, path::PathBuf};

use bowline_audit_heads::{AuditPublicKey, SignedHead, TrailBreak, TrailCheck};
use bowline_db::AuditEntry;
use bowline_ids::TailnetId;
use bowline_proto::audit::v1::ListAuditRequest;
use serde::Serialize;

use super::trails::{AuditOwner, OWNERS, Trail};
use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::{Printer, Row, yes_mark},
};

/// The heads of a tailnet that count.
#[derive(Debug)]
pub(super) struct ExportedHeads(Vec<SignedHead>);

impl ExportedHeads {
    /// Reads files of heads. A line that is none is told, and does not count.
    pub(super) fn read(
        files: &[PathBuf],
        keys: &[AuditPublicKey],
        tailnet_id: u64,
        printer: &Printer,
    ) -> Result<Self, Failure> {
        let (mut heads, mut signers) = (Vec::new(), BTreeSet::new());
        for file in files {
            let text = fs::read_to_string(file).map_err(|error| {
                Failure::new(FailureKind::Failed, format!("{}: {error}", file.display()))
            })?;
            let lines = (1..).zip(text.lines());
            for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
                let place = format!("{}, line {number}", file.display());
                match SignedHead::parse(line) {
                    Ok((_, key)) if !keys.is_empty() && !keys.contains(&key) => {
                        printer
                            .warn_always(&format!("{place} does not count: it is signed by {key}"));
                    }
                    Ok((head, key)) => {
                        signers.insert(key);
                        heads.push(head);
                    }
                    Err(error) => printer.warn_always(&format!("{place} does not count: {error}")),
                }
            }
        }
        heads.retain(|head| head.tailnet_id == tailnet_id);
        if heads.is_empty() {
            let text = "no head of this tailnet counts: nothing could be compared";
            return Err(Failure::new(FailureKind::NotFound, text));
        }
        if keys.is_empty() {
            for key in signers {
                printer.warn_always(&format!(
                    "the heads are signed by {key}: name it with --signed-by once you know it to be this deployment's (bowline audit-key show)"
                ));
            }
        }
        Ok(Self(heads))
    }

    fn of_owner(&self, owner: AuditOwner) -> Vec<SignedHead> {
        let heads = self.0.iter();
        heads
            .filter(|head| head.owner == owner.name())
            .cloned()
            .collect()
    }
}

/// What became of one owner's trail.
#[derive(Debug, Serialize)]
struct HeadVerdict {
    owner: &'static str,
    entries: u64,
    whole: bool,
    /// The newest entry whose exported head agrees.
    confirmed: u64,
    broken_sequence: Option<u64>,
    problem: Option<String>,
}

impl Row for HeadVerdict {
    const HEADS: &'static [&'static str] = &[
        "trail",
        "entries",
        "whole",
        "confirmed to",
        "broken at",
        "problem",
    ];

    fn table_cells(&self) -> Vec<String> {
        let broken = self.broken_sequence.map(|sequence| sequence.to_string());
        vec![
            self.owner.to_owned(),
            self.entries.to_string(),
            yes_mark(self.whole),
            self.confirmed.to_string(),
            broken.unwrap_or_default(),
            self.problem.clone().unwrap_or_default(),
        ]
    }
}

/// Follows all trails of a tailnet, and says where one differs from what was exported.
pub(super) async fn verify_trails(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    heads: &ExportedHeads,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut verdicts = Vec::new();
    for owner in OWNERS {
        verdicts.push(verify_trail(connection, tailnet_id, owner, &heads.of_owner(owner)).await?);
    }
    printer.print_rows(&verdicts);
    let broken = verdicts.iter().find_map(|verdict| {
        let problem = verdict.problem.as_ref()?;
        Some(format!("the trail of {}: {problem}", verdict.owner))
    });
    broken.map_or(Ok(()), |text| Err(Failure::new(FailureKind::Failed, text)))
}

async fn verify_trail(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    owner: AuditOwner,
    heads: &[SignedHead],
) -> Result<HeadVerdict, Failure> {
    let tailnet = TailnetId::try_from(tailnet_id)
        .map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    let request = ListAuditRequest {
        tailnet_id,
        oldest_first: true,
        ..ListAuditRequest::default()
    };
    let mut trail = Trail::new(owner, request);
    let mut check = TrailCheck::new(tailnet, heads);
    let mut entries = 0;
    let verdict = |entries, found: Result<(u64, u64), TrailBreak>| HeadVerdict {
        owner: owner.name(),
        entries,
        whole: found.is_ok(),
        confirmed: found.as_ref().map_or(0, |found| found.1),
        broken_sequence: found.as_ref().err().map(TrailBreak::sequence),
        problem: found.as_ref().err().map(ToString::to_string),
    };
    while trail.peek(connection).await?.is_some() {
        let Some(entry) = trail.take() else { break };
        entries += 1;
        let entry = AuditEntry::try_from(entry)
            .map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
        if let Err(found) = check.take_entry(&entry) {
            return Ok(verdict(entries, Err(found)));
        }
    }
    Ok(verdict(entries, check.finish()))
}
