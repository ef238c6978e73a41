//! Files of exported heads.

use std::{collections::BTreeSet, fs, path::PathBuf};

use bowline_audit_heads::{AuditPublicKey, SignedHead};

use crate::{
    audit::trails::{AuditOwner, OWNERS},
    failure::{Failure, FailureKind},
    output::Printer,
};

/// The heads that count.
#[derive(Debug, Default)]
pub(super) struct ExportedHeads {
    heads: Vec<SignedHead>,
    /// How many lines do not count.
    left_out: usize,
}

impl ExportedHeads {
    /// Reads files of heads. A line that is none is told, and does not count.
    pub(super) fn read(
        files: &[PathBuf],
        keys: &[AuditPublicKey],
        printer: &Printer,
    ) -> Result<Self, Failure> {
        let (mut found, mut signers) = (Self::default(), BTreeSet::new());
        for file in files {
            let text = fs::read_to_string(file).map_err(|error| {
                Failure::new(FailureKind::Failed, format!("{}: {error}", file.display()))
            })?;
            let lines = (1..).zip(text.lines());
            for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
                match read_line(line, keys) {
                    Ok((head, key)) => {
                        signers.insert(key);
                        found.heads.push(head);
                    }
                    Err(problem) => {
                        found.left_out += 1;
                        let place = format!("{}, line {number}", file.display());
                        printer.warn_always(&format!("{place} does not count: {problem}"));
                    }
                }
            }
        }
        if found.heads.is_empty() {
            let text = "no head counts: nothing could be compared";
            return Err(Failure::new(FailureKind::NotFound, text));
        }
        if keys.is_empty() {
            for key in signers {
                printer.warn_always(&format!(
                    "the heads are signed by {key}: name it with --signed-by once you know it to be this deployment's (bowline audit-key show)"
                ));
            }
        }
        Ok(found)
    }

    /// Returns the tailnets that are named.
    pub(super) fn tailnet_ids(&self) -> Vec<u64> {
        let ids: BTreeSet<_> = self.heads.iter().map(|head| head.tailnet_id).collect();
        ids.into_iter().collect()
    }

    pub(super) fn of_trail(&self, tailnet_id: u64, owner: AuditOwner) -> Vec<SignedHead> {
        let heads = self.heads.iter();
        heads
            .filter(|head| head.tailnet_id == tailnet_id && head.owner == owner.name())
            .cloned()
            .collect()
    }

    /// Fails when lines did not count: what they said was compared with nothing.
    pub(super) fn refuse_left_out(&self) -> Result<(), Failure> {
        match self.left_out {
            0 => Ok(()),
            lines => {
                let text = format!(
                    "{lines} lines do not count: the trails are as the others say. Remove those that you know, such as one that a crash has cut"
                );
                Err(Failure::new(FailureKind::Failed, text))
            }
        }
    }
}

fn read_line(line: &str, keys: &[AuditPublicKey]) -> Result<(SignedHead, AuditPublicKey), String> {
    let (head, key) = SignedHead::parse(line).map_err(|error| error.to_string())?;
    if !keys.is_empty() && !keys.contains(&key) {
        return Err(format!("it is signed by {key}"));
    }
    if !OWNERS.iter().any(|owner| owner.name() == head.owner) {
        return Err(format!("there is no trail of {:?}", head.owner));
    }
    Ok((head, key))
}
