//! Tailnet lock: devices switch it on and off, change which keys are trusted, and sign node keys.
//!
//! ```text
//! BeginLock ─▶ lock begun, nodes to sign ─▶ FinishLock ─▶ on ─▶ SendLockUpdates, SignNodeKey … ─▶ DisableLock ─▶ off
//! ```
//!
//! Changes of one tailnet are serial, so its log has one writer, whichever replica takes the call. All are checked by
//! `bowline-tailnet-lock`; here is what the server decides beyond that: who may switch it on and off, and which nodes wait.

mod disablement;
mod initialisation;
mod listing;
mod logs;
mod members;
mod node_signatures;
mod updates;

pub(crate) use node_signatures::{find_present_holder, find_same_wrapping_key};

use std::sync::Arc;

use bowline_db::{ChangeLog, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{Node, RegistryChange, TailnetLock, registry_change::Change};
use bowline_tailnet_lock::{LockLog, LockUpdate};
use serde_json::json;
use sqlx::{Any, AnyConnection, Executor};

use crate::{
    asked_services::AskedServices,
    domain::{lock, routes},
    error::RegistryError,
    node_changes,
    store::locks::{self, LockPhase, LockRow, LockUpdateRow},
};
use logs::LockLogs;
use members::AskingNode;

/// From this schema level on every process heeds the lock; one of an earlier release would show nodes without signature.
pub(crate) const LOCK_LEVEL: u32 = 2;

/// The locks of all tailnets. Clones share it.
#[derive(Clone, Debug)]
pub struct TailnetLocks {
    log: ChangeLog,
    services: AskedServices,
    logs: LockLogs,
}

/// A lock that is on, with its log.
#[derive(Clone, Debug)]
pub(crate) struct LockInForce {
    pub(crate) row: LockRow,
    pub(crate) log: Arc<LockLog>,
}

impl TailnetLocks {
    pub(crate) fn new(log: ChangeLog, services: AskedServices) -> Self {
        let logs = LockLogs::new();
        Self {
            log,
            services,
            logs,
        }
    }

    /// Refuses what a process of an earlier release would not heed while one may still run.
    fn check_level(&self) -> Result<(), RegistryError> {
        let level = self.log.database().require_level(LOCK_LEVEL);
        level.map_err(RegistryError::refused)
    }

    /// Returns the lock of a tailnet, or refuses where none is on.
    async fn require_lock(&self, tailnet: TailnetId) -> Result<LockInForce, RegistryError> {
        self.logs.require(self.log.database(), tailnet).await
    }
}

/// Returns the lock of a tailnet that is on; `None` where none is.
pub(crate) async fn find_lock(
    mutation: &mut Mutation,
) -> Result<Option<LockInForce>, RegistryError> {
    let tailnet = mutation.tailnet().get();
    read_lock(mutation.connection(), tailnet).await
}

async fn read_lock(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<Option<LockInForce>, RegistryError> {
    let row = locks::newest(&mut *on, tailnet_id, false).await?;
    let Some(row) = row.filter(|row| row.phase == LockPhase::On) else {
        return Ok(None);
    };
    let log = Arc::new(read_log(&locks::updates(on, &row).await?)?);
    Ok(Some(LockInForce { row, log }))
}

/// Returns what followers are told of a tailnet's lock; `None` where there never was one.
pub(crate) async fn describe_lock<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet: TailnetId,
) -> Result<Option<TailnetLock>, RegistryError> {
    let row = locks::newest(on, tailnet.get(), false).await?;
    Ok(row.as_ref().map(describe_row))
}

fn describe_row(row: &LockRow) -> TailnetLock {
    match row.phase {
        LockPhase::On => TailnetLock {
            head: row.head.clone(),
            disabled: false,
        },
        LockPhase::Begun | LockPhase::Off => TailnetLock {
            head: String::new(),
            disabled: true,
        },
    }
}

fn refuse_without_lock() -> RegistryError {
    let text = "tailnet lock is not on in this network: `tailscale lock init` switches it on";
    RegistryError::Refused(text.to_owned())
}

fn read_log(rows: &[LockUpdateRow]) -> Result<LockLog, RegistryError> {
    let updates = rows.iter().map(|row| LockUpdate::decode(&row.body));
    let log = updates.collect::<Result<Vec<_>, _>>();
    log.and_then(LockLog::restore).map_err(|error| {
        let inconsistent = bowline_db::DatabaseError::Inconsistent {
            table: "lock_updates",
            row: error.to_string(),
        };
        RegistryError::Database(inconsistent)
    })
}

/// Writes a lock as it is from here on, and tells followers.
async fn write_lock(mutation: &mut Mutation, row: &LockRow) -> Result<(), RegistryError> {
    locks::put_lock(mutation.connection(), row).await?;
    mutation.record_entry(&RegistryChange::from(Change::Lock(describe_row(row))));
    Ok(())
}

/// Adds updates to a lock, after those that it has.
async fn add_updates(
    mutation: &mut Mutation,
    row: &LockRow,
    first_place: usize,
    updates: &[LockUpdate],
) -> Result<(), RegistryError> {
    let taken_at = Some(mutation.now());
    for (place, update) in (first_place..).zip(updates) {
        let body = update.encode();
        let row_of_update = LockUpdateRow { taken_at, body };
        locks::add_update(mutation.connection(), row, place, row_of_update).await?;
    }
    Ok(())
}

/// Says of nodes whether they wait for a signature, where that differs, and elects routers again; the audit trail says for
/// which reason. Returns how many differ.
async fn update_waiting(
    mutation: &mut Mutation,
    found: Vec<Node>,
    reason: &str,
    waits: impl Fn(&Node) -> bool,
) -> Result<usize, RegistryError> {
    let mut changed = 0;
    let mut may_move_primaries = false;
    for before in found {
        let awaits_signature = waits(&before);
        if before.awaits_signature == awaits_signature {
            continue;
        }
        let node = Node {
            awaits_signature,
            ..before.clone()
        };
        node_changes::write_node(mutation, &node, None).await?;
        let action = match awaits_signature {
            true => "node.await_signature",
            false => "node.let_in",
        };
        let detail = json!({ "name": node.name, "by": reason });
        mutation.record_audit(action, node.id.to_string(), &detail);
        may_move_primaries |= routes::may_move_primaries(&before, &node);
        changed += 1;
    }
    if may_move_primaries {
        node_changes::elect_primaries(mutation).await?;
    }
    Ok(changed)
}

/// Looks again at the nodes whose signature rests on one of these keys.
async fn review_signed_by(
    mutation: &mut Mutation,
    log: &LockLog,
    signers: &[bowline_tailnet_lock::KeyId],
) -> Result<usize, RegistryError> {
    let tailnet = mutation.tailnet().get();
    let mut changed = 0;
    for signer in signers {
        let found = locks::nodes_signed_by(mutation.connection(), tailnet, signer).await?;
        let waits = |node: &Node| lock::lacks_signature(node, log.state());
        changed += update_waiting(mutation, found, "trusted keys", waits).await?;
    }
    Ok(changed)
}
