//! The log of a lock: what devices miss of it, and what they add.

use std::{collections::BTreeSet, sync::Arc};

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::{
    OfferLockUpdatesRequest, OfferLockUpdatesResponse, SendLockUpdatesRequest,
};
use bowline_tailnet_lock::{
    KeyId, LockLog, LockState, LockUpdate, LockUpdateError, SyncOffer, UpdateHash, UpdateKind,
};
use serde_json::json;

use super::{
    AskingNode, LockInForce, TailnetLocks, add_updates,
    logs::{find_lock_again, run_blocking},
    review_signed_by, write_lock,
};
use crate::{actors::machine_actor, domain::pace::LOCK_UPDATES, error::RegistryError};

/// The most updates and ancestors of one call.
const MOST_AT_ONCE: usize = 2000;

/// Updates that were checked against a log as it was read.
struct CheckedUpdates {
    updates: Vec<LockUpdate>,
    /// Those that were not in it.
    added: Vec<LockUpdate>,
    /// The log with them.
    grown: LockLog,
}

/// Updates that a node has sent.
struct SentUpdates {
    member: AskingNode,
    /// The lock as they were checked against it.
    known: LockInForce,
    checked: CheckedUpdates,
    interactive: bool,
}

impl TailnetLocks {
    /// Says what a node misses.
    pub(crate) async fn offer_updates(
        &self,
        request: OfferLockUpdatesRequest,
    ) -> Result<OfferLockUpdatesResponse, RegistryError> {
        let member = self.find_member(request.member).await?;
        check_length("ancestors", request.ancestors.len())?;
        let read = |field, text: &String| {
            UpdateHash::parse(text)
                .ok_or_else(|| RegistryError::invalid(field, "is no hash of an update"))
        };
        let ancestors = request.ancestors.iter();
        let remote = SyncOffer {
            head: read("head", &request.head)?,
            ancestors: ancestors
                .map(|text| read("ancestors", text))
                .collect::<Result<_, _>>()?,
        };
        let LockInForce { log, .. } = self.require_lock(member.tailnet).await?;
        let Some(missing) = log.missing_of(&remote) else {
            let text = "this device has a tailnet lock that has nothing in common with the network's, most likely one that was switched \
                        off while the device was away: run `tailscale lock local-disable` on the device";
            return Err(RegistryError::Refused(text.to_owned()));
        };
        let own = log.offer();
        Ok(OfferLockUpdatesResponse {
            head: own.head.to_string(),
            ancestors: own.ancestors.iter().map(ToString::to_string).collect(),
            missing: missing.into_iter().map(LockUpdate::encode).collect(),
        })
    }

    /// Takes updates, and returns the head after them.
    pub(crate) async fn take_updates(
        &self,
        request: SendLockUpdatesRequest,
    ) -> Result<String, RegistryError> {
        let member = self.find_member(request.member).await?;
        check_length("updates", request.updates.len())?;
        let known = self.require_lock(member.tailnet).await?;
        let turn = self.logs.take_turn().await;
        let (log, sent) = (Arc::clone(&known.log), request.updates);
        let check = move || check_updates(&log, &sent);
        let checked = run_blocking(check).await.map_err(|error| refuse(&error))?;
        drop(turn);
        // Whoever looks after all devices' heads brings nothing new, and changes nothing.
        if checked.added.is_empty() {
            return Ok(known.row.head);
        }
        let actor = machine_actor(&member.node.machine_key);
        let (tailnet, interactive) = (member.tailnet, request.interactive);
        let sent = SentUpdates {
            member,
            known,
            checked,
            interactive,
        };
        let taking = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(take(mutation, sent))
        });
        Ok(taking.await?.0)
    }
}

/// Adds updates to a log as it was read.
fn check_updates(log: &LockLog, updates: &[Vec<u8>]) -> Result<CheckedUpdates, LockUpdateError> {
    let updates = updates.iter().map(|bytes| LockUpdate::decode(bytes));
    let updates = updates.collect::<Result<Vec<_>, _>>()?;
    let mut grown = log.clone();
    let added = grown.add(updates.clone())?;
    Ok(CheckedUpdates {
        updates,
        added,
        grown,
    })
}

fn check_length(field: &'static str, length: usize) -> Result<(), RegistryError> {
    if length > MOST_AT_ONCE {
        let problem = format!("are more than {MOST_AT_ONCE}");
        return Err(RegistryError::invalid(field, problem));
    }
    Ok(())
}

fn refuse(error: &LockUpdateError) -> RegistryError {
    RegistryError::Refused(error.to_string())
}

async fn take(mutation: &mut Mutation, sent: SentUpdates) -> Result<String, RegistryError> {
    let SentUpdates {
        member,
        known,
        checked,
        interactive,
    } = sent;
    member.check_again(mutation).await?;
    let LockInForce {
        mut row,
        log: found,
    } = find_lock_again(mutation, &known).await?;
    let last = checked.updates.last().map(LockUpdate::hash);
    let (added, log) = match Arc::ptr_eq(&found, &known.log) {
        true => (checked.added, checked.grown),
        // Somebody has added something since.
        false => {
            let mut log = LockLog::clone(&found);
            let added = log.add(checked.updates).map_err(|error| refuse(&error))?;
            (added, log)
        }
    };
    let (before, place) = (found.state(), found.count());
    if interactive && last != Some(log.head()) {
        let text = "somebody else has changed tailnet lock meanwhile, and that counts: let the device synchronise, then try again";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    if added.is_empty() {
        return Ok(row.head);
    }
    member.take_turn(mutation, "updates", LOCK_UPDATES).await?;
    add_updates(mutation, &row, place, &added).await?;
    for update in &added {
        let detail = json!({
            "kind": update.kind.name(),
            "key": key_of(&update.kind).map(hex::encode),
            "signers": update.signatures.iter().map(|one| hex::encode(one.key)).collect::<Vec<_>>(),
        });
        mutation.record_audit("lock.update", update.hash().to_string(), &detail);
    }
    let head = log.head().to_string();
    if head != row.head {
        row.head = head;
        write_lock(mutation, &row).await?;
        let moved = moved_keys(before, log.state());
        let nodes = review_signed_by(mutation, &log, &moved).await?;
        let detail = json!({ "nodes": nodes, "keys": log.state().keys.len() });
        mutation.record_audit("lock.move_head", row.head.clone(), &detail);
    }
    Ok(row.head)
}

/// The key that an update is about.
pub(super) fn key_of(kind: &UpdateKind) -> Option<KeyId> {
    match kind {
        UpdateKind::AddKey(key) => Some(key.id),
        UpdateKind::RemoveKey(id) | UpdateKind::UpdateKey { id, .. } => Some(*id),
        UpdateKind::NoChange | UpdateKind::Checkpoint(_) | UpdateKind::Unknown(_) => None,
    }
}

/// The keys that are trusted before or after, and not both times.
fn moved_keys(before: &LockState, after: &LockState) -> Vec<KeyId> {
    let ids = |state: &LockState| state.keys.iter().map(|key| key.id).collect::<BTreeSet<_>>();
    let (before, after) = (ids(before), ids(after));
    before.symmetric_difference(&after).copied().collect()
}
