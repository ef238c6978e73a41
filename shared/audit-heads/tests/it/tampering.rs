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
    an_exported_head_that_was_changed_does_not_count
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
