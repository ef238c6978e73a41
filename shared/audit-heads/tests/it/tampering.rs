//! What becomes of a trail whose head was exported is found, and the first wrong entry named.

use bowline_audit_heads::{SignedHead, TrailBreak};
use bowline_db::AuditVerdict;
use bowline_test_servers::on_both;

use crate::support::{TestTrails, tailnet};

on_both!(TestTrails::open =>
    a_changed_entry_is_found,
    a_removed_entry_is_found,
    a_reordered_entry_is_found,
    a_cut_tail_is_found,
    a_trail_that_was_computed_again_is_found,
    a_trail_that_grew_is_whole,
    an_exported_head_that_was_changed_does_not_count,
    a_break_at_an_epoch_is_accepted_by_its_hash
);

/// Five entries, of which a head after the second and one after the fifth are exported.
async fn exported_trail(trails: &TestTrails) {
    trails.add(1, 2).await;
    trails.export().await;
    trails.add(1, 3).await;
    trails.export().await;
    assert_eq!(trails.check(1).await, Ok((5, 5)));
}

async fn a_changed_entry_is_found(trails: TestTrails) {
    exported_trail(&trails).await;
    trails
        .execute("UPDATE audit SET actor = 'admin:other' WHERE sequence = 3")
        .await;
    assert_eq!(
        trails.check(1).await,
        Err(TrailBreak::Chain { sequence: 3 })
    );
}

async fn a_removed_entry_is_found(trails: TestTrails) {
    exported_trail(&trails).await;
    trails.execute("DELETE FROM audit WHERE sequence = 4").await;
    assert_eq!(
        trails.check(1).await,
        Err(TrailBreak::Chain { sequence: 4 })
    );
    // The place is given to the next: the trail is one entry shorter.
    trails
        .execute("UPDATE audit SET sequence = 4 WHERE sequence = 5")
        .await;
    trails.compute_again(1).await;
    let cut = TrailBreak::Cut {
        sequence: 5,
        exported: 5,
        epoch: None,
    };
    assert_eq!(trails.check(1).await, Err(cut));
}

async fn a_reordered_entry_is_found(trails: TestTrails) {
    exported_trail(&trails).await;
    for change in [
        "UPDATE audit SET sequence = 99 WHERE sequence = 4",
        "UPDATE audit SET sequence = 4 WHERE sequence = 3",
        "UPDATE audit SET sequence = 3 WHERE sequence = 99",
    ] {
        trails.execute(change).await;
    }
    assert_eq!(
        trails.check(1).await,
        Err(TrailBreak::Chain { sequence: 3 })
    );
    // Computed again, the chain holds, and differs from what was exported.
    trails.compute_again(1).await;
    let rewritten = TrailBreak::Rewritten {
        first: 3,
        exported: 5,
        epoch: None,
    };
    assert_eq!(trails.check(1).await, Err(rewritten));
}

async fn a_cut_tail_is_found(trails: TestTrails) {
    exported_trail(&trails).await;
    trails
        .execute("DELETE FROM audit WHERE sequence >= 4")
        .await;
    trails.compute_again(1).await;
    // The server itself sees nothing.
    let own = trails.log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(own, AuditVerdict::Whole { entries: 3 });
    let cut = TrailBreak::Cut {
        sequence: 4,
        exported: 5,
        epoch: None,
    };
    assert_eq!(trails.check(1).await, Err(cut));
}

async fn a_trail_that_was_computed_again_is_found(trails: TestTrails) {
    exported_trail(&trails).await;
    trails
        .execute("UPDATE audit SET actor = 'admin:other' WHERE sequence = 4")
        .await;
    trails.compute_again(1).await;
    let own = trails.log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(own, AuditVerdict::Whole { entries: 5 });
    let found = trails.check(1).await.unwrap_err();
    assert_eq!(found.sequence(), 3, "the head after the second agrees");
    assert!(found.to_string().contains("between 3 and 5"), "{found}");
}

async fn a_trail_that_grew_is_whole(trails: TestTrails) {
    exported_trail(&trails).await;
    trails.add(1, 2).await;
    assert_eq!(trails.check(1).await, Ok((7, 5)));
}

async fn an_exported_head_that_was_changed_does_not_count(trails: TestTrails) {
    exported_trail(&trails).await;
    let text = std::fs::read_to_string(trails.file()).unwrap();
    for line in text.lines() {
        let (head, _) = SignedHead::parse(line).unwrap();
        let changed = SignedHead {
            sequence: head.sequence - 1,
            ..head
        };
        let line = serde_json::to_string(&changed).unwrap();
        let error = SignedHead::parse(&line).unwrap_err();
        assert!(error.to_string().contains("signature is wrong"), "{error}");
    }
}

async fn a_break_at_an_epoch_is_accepted_by_its_hash(trails: TestTrails) {
    exported_trail(&trails).await;
    trails.execute("DELETE FROM audit WHERE sequence > 3").await;
    trails.compute_again(1).await;
    trails.add_action(1, 1, "epoch.begin").await;
    let found = trails.check(1).await.unwrap_err();
    let epoch = match &found {
        TrailBreak::Cut {
            sequence: 5, epoch, ..
        } => epoch.clone(),
        _ => None,
    };
    let epoch = epoch.unwrap();
    assert!(found.to_string().contains("--accept-break"), "{found}");
    assert!(trails.check_accepting(1, &[[7; 32]]).await.is_err());
    let checked = trails.check_accepting(1, &[epoch.hash]).await.unwrap();
    assert_eq!((checked.entries, checked.confirmed), (4, 2));
    assert_eq!(checked.accepted, std::slice::from_ref(&epoch));
    // The next entry has the place of one that was exported: the newest head of all counts, and the old one does not.
    trails.add(1, 1).await;
    let found = trails.check(1).await.unwrap_err();
    assert!(
        matches!(
            found,
            TrailBreak::Rewritten {
                exported: 5,
                epoch: Some(_),
                ..
            }
        ),
        "{found:?}"
    );
    trails.export().await;
    let checked = trails.check_accepting(1, &[epoch.hash]).await.unwrap();
    assert_eq!((checked.entries, checked.confirmed), (5, 5));
    // What is changed behind it is found all the same.
    trails
        .execute("UPDATE audit SET actor = 'admin:other' WHERE sequence = 5")
        .await;
    trails.compute_again(1).await;
    assert!(trails.check_accepting(1, &[epoch.hash]).await.is_err());
}
