//! The log of a lock: what devices miss of it, and what they add.

use std::collections::BTreeSet;

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::{
    OfferLockUpdatesRequest, OfferLockUpdatesResponse, SendLockUpdatesRequest,
};
use bowline_tailnet_lock::{
    KeyId, LockState, LockUpdate, LockUpdateError, SyncOffer, UpdateHash, UpdateKind,
};
use serde_json::json;

use super::{
    LockInForce, TailnetLocks, add_updates, find_lock, refuse_without_lock, review_signed_by,
    write_lock,
};
use crate::{actors::machine_actor, error::RegistryError};

/// The most updates and ancestors of one call.
const MOST_AT_ONCE: usize = 2000;

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
        let updates = request
            .updates
            .iter()
            .map(|bytes| LockUpdate::decode(bytes));
        let updates = updates
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refuse(&error))?;
        // Whoever looks after all devices' heads brings nothing new, and changes nothing.
        let LockInForce { mut log, row } = self.require_lock(member.tailnet).await?;
        if log
            .add(updates.clone())
            .map_err(|error| refuse(&error))?
            .is_empty()
        {
            return Ok(row.head);
        }
        let actor = machine_actor(&member.node.machine_key);
        let interactive = request.interactive;
        let taking = self.log.mutate(member.tailnet, actor, move |mutation| {
            Box::pin(take(mutation, updates, interactive))
        });
        Ok(taking.await?.0)
    }
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

async fn take(
    mutation: &mut Mutation,
    updates: Vec<LockUpdate>,
    interactive: bool,
) -> Result<String, RegistryError> {
    let lock = find_lock(mutation).await?;
    let LockInForce { mut row, mut log } = lock.ok_or_else(refuse_without_lock)?;
    let (before, place) = (log.state().clone(), log.count());
    let last = updates.last().map(LockUpdate::hash);
    let added = log.add(updates).map_err(|error| refuse(&error))?;
    if interactive && last != Some(log.head()) {
        let text = "somebody else has changed tailnet lock meanwhile, and that counts: let the device synchronise, then try again";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    if added.is_empty() {
        return Ok(row.head);
    }
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
        let moved = moved_keys(&before, log.state());
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
