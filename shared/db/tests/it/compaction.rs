//! Forgetting old entries.

use std::time::Duration;

use bowline_db::Changes;
use bowline_ids::Revision;
use bowline_test_servers::on_both;

use crate::support::{TestLog, add, tailnet};

on_both!(TestLog::open =>
    old_entries_beyond_the_newest_are_forgotten,
    young_entries_stay
);

const HOUR: Duration = Duration::from_secs(3600);

async fn old_entries_beyond_the_newest_are_forgotten(fixture: TestLog) {
    for name in ["a", "b", "c", "d", "e"] {
        add(&fixture.log, tailnet(1), name).await.unwrap();
    }
    add(&fixture.log, tailnet(2), "a").await.unwrap();
    fixture.advance(7200);
    assert_eq!(fixture.log.compact_entries(2, HOUR).await.unwrap(), 3);
    assert_eq!(fixture.log.compact_entries(2, HOUR).await.unwrap(), 0);
    for (since, expected) in [
        (0, None),
        (2, None),
        (3, Some(2)),
        (4, Some(1)),
        (5, Some(0)),
    ] {
        let changes = fixture
            .log
            .changes_since(tailnet(1), Revision::new(since), 10)
            .await
            .unwrap();
        let count = match changes {
            Changes::Entries(entries) => Some(entries.len()),
            Changes::Compacted => None,
        };
        assert_eq!(count, expected, "since {since}");
    }
    let revision = add(&fixture.log, tailnet(1), "f").await.unwrap();
    assert_eq!(revision, Revision::new(6));
    assert_eq!(fixture.log.compact_entries(0, HOUR).await.unwrap(), 3);
    let changes = fixture
        .log
        .changes_since(tailnet(2), Revision::ZERO, 10)
        .await
        .unwrap();
    assert_eq!(changes, Changes::Compacted);
}

async fn young_entries_stay(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "old").await.unwrap();
    fixture.advance(7200);
    add(&fixture.log, tailnet(1), "young").await.unwrap();
    // A clock that goes back leaves an old time behind a young one: the entry stays, for the log has no holes.
    fixture.advance(-7000);
    add(&fixture.log, tailnet(1), "back").await.unwrap();
    fixture.advance(7000);
    assert_eq!(fixture.log.compact_entries(0, HOUR).await.unwrap(), 1);
    let changes = fixture
        .log
        .changes_since(tailnet(1), Revision::new(1), 10)
        .await
        .unwrap();
    assert!(matches!(changes, Changes::Entries(entries) if entries.len() == 2));
}
