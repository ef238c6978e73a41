//! Reading the log, and snapshots.

use bowline_db::Changes;
use bowline_ids::Revision;
use bowline_test_servers::on_both;

use crate::support::{TestLog, add, tailnet};

on_both!(TestLog::open =>
    a_page_ends_at_its_limit,
    a_read_sees_one_state,
    a_reader_ahead_of_the_log_takes_a_snapshot,
    an_unknown_tailnet_has_no_changes,
    many_heads_come_in_the_order_asked_for,
    readers_can_not_write,
);

async fn a_read_sees_one_state(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let mut read = fixture.database().begin_read().await.unwrap();
    let head = fixture.log.head_in(&mut read, tailnet(1)).await.unwrap();
    add(&fixture.log, tailnet(1), "b").await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM things")
        .fetch_one(&mut *read)
        .await
        .unwrap();
    let again = fixture.log.head_in(&mut read, tailnet(1)).await.unwrap();
    assert_eq!((head.revision, count, again), (Revision::new(1), 1, head));
    drop(read);
    assert_eq!(fixture.names(tailnet(1)).await.len(), 2);
}

async fn readers_can_not_write(fixture: TestLog) {
    let mut read = fixture.database().begin_read().await.unwrap();
    let write = "INSERT INTO things (id, tailnet_id, name) VALUES (1, 1, 'a')";
    assert!(sqlx::query(write).execute(&mut *read).await.is_err());
}

async fn a_page_ends_at_its_limit(fixture: TestLog) {
    for name in ["a", "b", "c"] {
        add(&fixture.log, tailnet(1), name).await.unwrap();
    }
    let page = fixture
        .log
        .changes_since(tailnet(1), Revision::new(1), 1)
        .await
        .unwrap();
    let Changes::Entries(entries) = page else {
        panic!("{page:?}")
    };
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].0, Revision::new(2));
    let rest = fixture
        .log
        .changes_since(tailnet(1), Revision::new(3), 10)
        .await
        .unwrap();
    assert_eq!(rest, Changes::Entries(Vec::new()));
}

async fn an_unknown_tailnet_has_no_changes(fixture: TestLog) {
    let changes = fixture
        .log
        .changes_since(tailnet(5), Revision::ZERO, 10)
        .await
        .unwrap();
    assert_eq!(changes, Changes::Entries(Vec::new()));
}

async fn a_reader_ahead_of_the_log_takes_a_snapshot(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    for (id, revision) in [(1, 2), (5, 1)] {
        let since = Revision::new(revision);
        let changes = fixture
            .log
            .changes_since(tailnet(id), since, 10)
            .await
            .unwrap();
        assert_eq!(changes, Changes::Compacted);
    }
}

async fn many_heads_come_in_the_order_asked_for(fixture: TestLog) {
    add(&fixture.log, tailnet(700), "a").await.unwrap();
    let asked: Vec<_> = (1..=1200).rev().map(tailnet).collect();
    let heads = fixture.log.heads(&asked).await.unwrap();
    assert!(heads.iter().map(|head| head.tailnet).eq(asked));
    let total: u64 = heads.iter().map(|head| head.revision.get()).sum();
    assert_eq!(total, 1);
    assert!(fixture.log.heads(&[]).await.unwrap().is_empty());
}
