//! The audit chain.

use bowline_db::AuditVerdict;
use bowline_test_servers::on_both;

use crate::support::{TestLog, add, start, tailnet};

on_both!(TestLog::open =>
    a_tampered_trail_is_found,
    entries_tell_who_did_what,
    tailnets_have_their_own_trails
);

async fn entries_tell_who_did_what(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    fixture.advance(1);
    add(&fixture.log, tailnet(1), "b").await.unwrap();
    let entries = fixture.log.audit_entries(tailnet(1), 1, 10).await.unwrap();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(entry.sequence, 2);
    assert_eq!((entry.time - start()).num_seconds(), 1);
    assert_eq!(
        (entry.actor.as_str(), entry.action.as_str()),
        ("admin:test", "thing.add")
    );
    assert_eq!(
        (entry.object.as_str(), entry.detail.as_str()),
        ("b", "{\"id\":2}")
    );
    let verdict = fixture.log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(verdict, AuditVerdict::Whole { entries: 2 });
}

async fn tailnets_have_their_own_trails(fixture: TestLog) {
    for (id, name) in [(1, "a"), (2, "a"), (1, "b")] {
        add(&fixture.log, tailnet(id), name).await.unwrap();
    }
    for (id, entries) in [(1, 2), (2, 1), (3, 0)] {
        let verdict = fixture.log.verify_audit(tailnet(id)).await.unwrap();
        assert_eq!(verdict, AuditVerdict::Whole { entries });
    }
}

async fn a_tampered_trail_is_found(fixture: TestLog) {
    for (id, tampering, sequence) in [
        (
            1,
            "UPDATE audit SET actor = 'x' WHERE sequence = 2 AND tailnet_id = 1",
            2,
        ),
        (
            2,
            "DELETE FROM audit WHERE sequence = 1 AND tailnet_id = 2",
            1,
        ),
        (
            3,
            "DELETE FROM audit WHERE sequence = 3 AND tailnet_id = 3",
            3,
        ),
        (
            4,
            "UPDATE audit SET detail = '' WHERE sequence = 3 AND tailnet_id = 4",
            3,
        ),
        (5, "UPDATE audit SET tailnet_id = 6 WHERE tailnet_id = 5", 1),
    ] {
        for name in ["a", "b", "c"] {
            add(&fixture.log, tailnet(id), name).await.unwrap();
        }
        fixture.execute(tampering).await;
        let verdict = fixture.log.verify_audit(tailnet(id)).await.unwrap();
        assert_eq!(verdict, AuditVerdict::Broken { sequence }, "{tampering}");
    }
}
