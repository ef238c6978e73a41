use std::time::Instant;

use super::*;
use crate::key::LockKey;

fn update(kind: UpdateKind, parent: Option<UpdateHash>) -> LockUpdate {
    LockUpdate {
        kind,
        parent,
        signatures: Vec::new(),
    }
}

/// 512 keys are trusted, and each update changes the last of them.
fn long_log() -> Vec<LockUpdate> {
    let key = |number: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let key = LockKey {
            id,
            votes: 1,
            metadata: [].into(),
        };
        Arc::new(key)
    };
    let state = LockState {
        disablement_values: vec![[1; 32]],
        keys: (0..512).map(key).collect(),
        ids: (1, 2),
    };
    let id = state.keys[511].id;
    let mut updates = vec![update(UpdateKind::Checkpoint(state), None)];
    for votes in 1..500 {
        let kind = UpdateKind::UpdateKey {
            id,
            votes: Some(votes),
            metadata: [].into(),
        };
        let parent = updates.last().map(LockUpdate::hash);
        updates.push(update(kind, parent));
    }
    updates
}

/// With a walk to each parent it takes a hundred times as long.
#[test]
fn states_of_many_parents_are_computed_in_one_pass() {
    let updates = long_log();
    let after = |parent: &LockUpdate| {
        let update = update(UpdateKind::NoChange, Some(parent.hash()));
        (update.hash(), Arc::new(update), 0)
    };
    let new: Vec<_> = updates.iter().map(after).collect();
    #[expect(clippy::disallowed_methods, reason = "there is no runtime")]
    let now = Instant::now;
    let began = now();
    let log = LockLog::restore(updates).expect("a log");
    let restored = began.elapsed();
    let began = now();
    let mut states = ParentStates::find(&log, &new).expect("states");
    let found = began.elapsed();
    for (number, (_, update, _)) in new.iter().enumerate() {
        let parent = update.parent.expect("a parent");
        let state = states.take(&parent).expect("its state");
        assert_eq!(state.keys[511].votes, (number as u64).max(1));
    }
    assert!(found < 10 * restored, "{found:?}, restored in {restored:?}");
}
