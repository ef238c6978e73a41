use std::time::Duration;

use bowline_netmap::fixture::node_id;

use super::*;

/// Returns an epoch that the registry has not given yet.
fn unknown() -> (watch::Sender<u64>, watch::Receiver<u64>) {
    watch::channel(0)
}

async fn ends(slot: &mut SessionSlot, epoch: &mut watch::Receiver<u64>) -> bool {
    let limit = Duration::from_millis(1);
    tokio::time::timeout(limit, slot.wait_until_lost(epoch.clone()))
        .await
        .is_ok()
}

#[tokio::test]
async fn newer_session_ends_the_older_and_keeps_the_seat() {
    let sessions = Sessions::default();
    let older = sessions.take_slot(node_id(7), 1);
    let newer = sessions.take_slot(node_id(7), 1);
    older.wait_until_lost(unknown().1).await;
    assert!(!older.is_lost_to_another());
    assert!(!older.is_held() && newer.is_held());
    drop(older);
    assert_eq!(sessions.len(), 1);
    drop(newer);
    assert_eq!(sessions.len(), 0);
}

#[tokio::test]
async fn session_that_ends_late_takes_no_seat_from_newer_ones() {
    let sessions = Sessions::default();
    let half_open = sessions.take_slot(node_id(7), 1);
    drop(sessions.take_slot(node_id(7), 2));
    let newest = sessions.take_slot(node_id(7), 3);
    drop(half_open);
    assert!(newest.is_held());
    assert_eq!(sessions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn session_with_a_higher_epoch_elsewhere_ends_the_one_here() {
    let sessions = Sessions::default();
    let mut slot = sessions.take_slot(node_id(7), 1);
    let (given, mut epoch) = unknown();
    sessions.note_newer_epoch(node_id(7), 5);
    assert!(
        !ends(&mut slot, &mut epoch).await,
        "its own epoch may be higher"
    );
    given.send_replace(5);
    assert!(!ends(&mut slot, &mut epoch).await, "that is itself");
    sessions.note_newer_epoch(node_id(7), 6);
    assert!(ends(&mut slot, &mut epoch).await);
    assert!(slot.is_lost_to_another());
}

#[tokio::test(start_paused = true)]
async fn seat_is_vacant_when_the_last_of_its_sessions_has_ended() {
    let sessions = Sessions::default();
    let first = sessions.take_slot(node_id(7), 1);
    let second = sessions.take_slot(node_id(7), 2);
    assert!(first.is_lost_to_another());
    let limit = Duration::from_millis(1);
    for held in [first, second] {
        let waited = tokio::time::timeout(limit, sessions.wait_until_vacant(node_id(7))).await;
        assert!(waited.is_err(), "somebody has it");
        drop(held);
    }
    sessions.wait_until_vacant(node_id(7)).await;
    sessions.wait_until_vacant(node_id(8)).await;
}
