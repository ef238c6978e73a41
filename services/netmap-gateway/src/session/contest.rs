//! Two machines that use one node key, most likely a disk and its copy: each ends the other's session.
//!
//! A client that is replaced by its own newer connection never asks again on the older one. So a client that lost its
//! slot to another connection, and asks again on the same one, contests the slot with another machine. It waits,
//! longer each time, unless the other leaves before. Its reports are kept meanwhile, and passed on when it has the
//! slot.

use std::time::Duration;

use bowline_ids::NodeId;
use bowline_proto::key_registry::v1::ClientReport;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// How long a client waits for its slot after its first loss, and how long at most.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// After how long without another loss a contest is over.
const OVER: Duration = Duration::from_secs(120);

/// The session that a connection has lost to another one, if any.
#[derive(Debug, Default)]
pub struct KeyContest(Mutex<Option<LostSession>>);

#[derive(Debug)]
struct LostSession {
    node: NodeId,
    times: u32,
    at: Instant,
    phase: ContestPhase,
    /// What the client reported since it lost the slot.
    kept: Option<ClientReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContestPhase {
    /// The session has ended; its client may be on another connection by now.
    Gone,
    /// The client has asked again on the same connection, and waits for the slot.
    Waiting,
    /// The client has the slot again.
    HasSlot,
}

impl KeyContest {
    /// Notes that the connection's session of a node has lost its slot to another connection.
    pub fn note_loss(&self, node: NodeId, now: Instant) {
        let mut lost = self.lock_lost();
        let times = match &*lost {
            Some(before) if before.node == node && now - before.at < OVER => before.times + 1,
            _ => 1,
        };
        *lost = Some(LostSession {
            node,
            times,
            at: now,
            phase: ContestPhase::Gone,
            kept: None,
        });
    }

    /// Notes that the client asks for a session of the node; returns how long it has to wait for its slot, if it lost
    /// it on this connection.
    pub fn note_return(&self, node: NodeId) -> Option<Duration> {
        let mut lost = self.lock_lost();
        let lost = lost
            .as_mut()
            .filter(|lost| lost.node == node && lost.phase != ContestPhase::HasSlot)?;
        lost.phase = ContestPhase::Waiting;
        let doubled = FIRST_WAIT.saturating_mul(1 << (lost.times - 1).min(8));
        Some(doubled.min(LONGEST_WAIT))
    }

    /// Keeps a report of a client that waits for its slot; returns any other report, to be passed on.
    pub fn keep_report(&self, node: NodeId, report: ClientReport) -> Option<ClientReport> {
        let mut lost = self.lock_lost();
        let is_waiting =
            |lost: &&mut LostSession| lost.node == node && lost.phase == ContestPhase::Waiting;
        let Some(lost) = lost.as_mut().filter(is_waiting) else {
            return Some(report);
        };
        lost.kept = Some(merge_reports(report, lost.kept.take()));
        None
    }

    /// Notes that a client which waited has its slot again. Returns what it reported since it lost the slot, or as it
    /// asked for the slot: this has to be passed on, because the other machine has reported something else.
    pub fn note_slot_regained(
        &self,
        node: NodeId,
        requested: impl FnOnce() -> Option<ClientReport>,
    ) -> Option<ClientReport> {
        let mut lost = self.lock_lost();
        let is_waiting =
            |lost: &&mut LostSession| lost.node == node && lost.phase == ContestPhase::Waiting;
        let lost = lost.as_mut().filter(is_waiting)?;
        lost.phase = ContestPhase::HasSlot;
        match lost.kept.take() {
            Some(kept) => Some(merge_reports(kept, requested())),
            None => requested(),
        }
    }

    fn lock_lost(&self) -> MutexGuard<'_, Option<LostSession>> {
        self.0.lock()
    }
}

/// Returns the later of two reports, with what the earlier said of the host where the later says nothing of it.
pub fn merge_reports(later: ClientReport, earlier: Option<ClientReport>) -> ClientReport {
    let host = later.host.or_else(|| earlier?.host);
    ClientReport { host, ..later }
}

#[cfg(test)]
mod tests;
