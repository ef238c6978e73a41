//! Which of several updates with one parent counts.

use std::cmp::Reverse;

use crate::{
    hash::UpdateHash,
    state::LockState,
    update::{LockUpdate, UpdateKind},
};

/// Chooses among updates that follow a state, all of which are signed well: the one with most votes; of those one that
/// removes a key; of those the one with the lowest hash. Every client chooses the same.
pub(crate) fn choose_update<'u>(
    state: &LockState,
    candidates: impl Iterator<Item = (UpdateHash, &'u LockUpdate)>,
) -> Option<(UpdateHash, &'u LockUpdate)> {
    candidates.min_by_key(|(hash, update)| {
        let removes = matches!(update.kind, UpdateKind::RemoveKey(_));
        (Reverse(weight(state, update)), Reverse(removes), *hash)
    })
}

/// The votes of all keys that have signed an update; each counts once.
fn weight(state: &LockState, update: &LockUpdate) -> u64 {
    let mut signers: Vec<_> = update.signatures.iter().map(|one| one.key).collect();
    signers.sort_unstable();
    signers.dedup();
    let keys = signers.iter().filter_map(|id| state.find_key(id));
    keys.map(|key| key.votes).sum()
}
