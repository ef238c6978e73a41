//! A database that goes back to an earlier state: followers notice, and no number is given twice.

use std::time::{Duration, Instant};

use bowline_bus::{Bus, LogOwner};
use bowline_db::{AuditVerdict, ChangeLog, Changes, Database, next_id};
use bowline_ids::Revision;
use bowline_test_servers::{PgBouncer, PostgresServer, on_both};
use tokio::{sync::watch::Receiver, time::timeout};

use crate::support::{TestLog, add, system_options, tailnet};

on_both!(TestLog::open =>
    follower_that_is_ahead_begins_an_epoch,
    revisions_and_identifiers_jump_and_the_audit_says_so,
    tailnet_that_is_lost_begins_above_the_base,
    each_restore_has_a_base_of_its_own
);

/// Puts tailnet 1 back to what it was after its first entry.
const GO_BACK: &str = "DELETE FROM change_log WHERE tailnet_id = 1 AND revision > 1;
    DELETE FROM audit WHERE tailnet_id = 1 AND sequence > 1;
    UPDATE heads SET revision = 1, audit_sequence = 1,
        audit_hash = (SELECT hash FROM audit WHERE tailnet_id = 1 AND sequence = 1) WHERE tailnet_id = 1";

/// Does to the epochs what a restore does.
async fn restore(fixture: &TestLog) {
    fixture
        .execute("UPDATE epochs SET lineage = 'restored'")
        .await;
}

/// Asks from a revision until an epoch begins, as followers do, and returns its base.
async fn ask_until_begun(log: &ChangeLog, since: u64, epoch: &mut Receiver<u64>) -> u64 {
    let asking = async {
        loop {
            assert_eq!(changes(log, since).await, Changes::Compacted);
            let begun = timeout(Duration::from_millis(50), epoch.changed()).await;
            if begun.is_ok() {
                return *epoch.borrow_and_update();
            }
        }
    };
    timeout(Duration::from_secs(30), asking)
        .await
        .expect("an epoch begins")
}

/// Checks how many epochs have begun, once whatever is under way is over.
async fn check_count(fixture: &TestLog, expected: i64) {
    // A mutation waits for an epoch that is beginning.
    add(
        &fixture.log,
        tailnet(3),
        &format!("after {expected} {:?}", Instant::now()),
    )
    .await
    .unwrap();
    let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM epochs WHERE base > 0")
        .fetch_one(fixture.database().reader())
        .await
        .unwrap();
    assert_eq!(found, expected);
}

async fn revision(log: &ChangeLog) -> u64 {
    log.heads(&[tailnet(1)]).await.unwrap()[0].revision.get()
}

async fn changes(log: &ChangeLog, since: u64) -> Changes {
    log.changes_since(tailnet(1), Revision::new(since), 10)
        .await
        .unwrap()
}

async fn follower_that_is_ahead_begins_an_epoch(fixture: TestLog) {
    let log = &fixture.log;
    for name in ["a", "b", "c"] {
        add(log, tailnet(1), name).await.unwrap();
    }
    let mut epoch = fixture.database().watch_epoch();
    fixture.execute(GO_BACK).await;
    let base = ask_until_begun(log, 3, &mut epoch).await;
    assert_eq!(revision(log).await, base);
    // What was common before is still told, and leads to the gap.
    let Changes::Entries(entries) = changes(log, 0).await else {
        panic!("the first entry is there");
    };
    assert_eq!(entries.len(), 1);
    assert_eq!(changes(log, 1).await, Changes::Compacted);
    // Another follower that has not heard of it yet, or one that lies, begins no second soon, and each takes longer.
    let ask_after = async |seconds| {
        fixture.advance(seconds);
        assert_eq!(changes(log, base + 7).await, Changes::Compacted);
        assert_eq!(changes(log, 1 << 60).await, Changes::Compacted);
        assert_eq!(changes(log, u64::MAX).await, Changes::Compacted);
    };
    ask_after(30).await;
    check_count(&fixture, 1).await;
    fixture.advance(31);
    let base = ask_until_begun(log, base + 7, &mut epoch).await;
    fixture.advance(61);
    assert_eq!(changes(log, base + 7).await, Changes::Compacted);
    check_count(&fixture, 2).await;
    fixture.advance(60);
    ask_until_begun(log, base + 7, &mut epoch).await;
}

async fn revisions_and_identifiers_jump_and_the_audit_says_so(fixture: TestLog) {
    let log = &fixture.log;
    add(log, tailnet(1), "a").await.unwrap();
    let first = fixture.database().list_epochs().await.unwrap();
    assert_eq!((first.len(), first[0].base, &*first[0].reason), (1, 0, ""));
    restore(&fixture).await;
    let replica = fixture.second_replica().await;
    let base = *replica.database().watch_epoch().borrow();
    let epochs = fixture.database().list_epochs().await.unwrap();
    assert_eq!((epochs.len(), epochs[1].base), (2, base));
    assert_eq!(epochs[1].reason, "a backup was restored");
    assert_eq!(
        add(log, tailnet(1), "b").await.unwrap(),
        Revision::new(base + 1)
    );
    let Changes::Entries(entries) = changes(log, base).await else {
        panic!("nothing is between the base and the next entry");
    };
    assert_eq!(entries.len(), 1);
    let id = fixture
        .database()
        .write(|write| Box::pin(async move { next_id(write.connection()).await }));
    assert!(id.await.unwrap().cast_unsigned() > base);
    let trail = log.audit_entries(tailnet(1), 0, 10).await.unwrap();
    let (action, object) = (&trail[1].action, &trail[1].object);
    assert_eq!((&**action, object), ("epoch.begin", &base.to_string()));
    assert!(
        trail[1].detail.contains("a backup was restored"),
        "{}",
        trail[1].detail
    );
    let verdict = log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(verdict, AuditVerdict::Whole { entries: 3 });
}

async fn tailnet_that_is_lost_begins_above_the_base(fixture: TestLog) {
    let log = &fixture.log;
    add(log, tailnet(1), "a").await.unwrap();
    fixture
        .execute("DELETE FROM change_log; DELETE FROM audit; DELETE FROM heads; DELETE FROM things")
        .await;
    let mut epoch = fixture.database().watch_epoch();
    let base = ask_until_begun(log, 1, &mut epoch).await;
    assert_eq!(
        add(log, tailnet(1), "b").await.unwrap(),
        Revision::new(base + 1)
    );
    assert_eq!(changes(log, 1).await, Changes::Compacted);
    let soft = log
        .commit_soft_state(|batch| Box::pin(async move { batch.take_revision(tailnet(2)).await }));
    assert_eq!(soft.await.unwrap(), base + 1);
}

async fn each_restore_has_a_base_of_its_own(fixture: TestLog) {
    let log = &fixture.log;
    add(log, tailnet(1), "a").await.unwrap();
    let mut given = Vec::new();
    for _ in 0..3 {
        // The same backup each time: it knows of no epoch.
        fixture.execute(GO_BACK).await;
        fixture
            .execute(
                "DELETE FROM epochs;
                 INSERT INTO epochs (base, lineage, began_at, reason) VALUES (0, 'restored', 0, '')",
            )
            .await;
        let _replica = fixture.second_replica().await;
        add(log, tailnet(1), "b").await.unwrap();
        fixture.execute("DELETE FROM things WHERE name = 'b'").await;
        given.push(revision(log).await);
        fixture.advance(1);
    }
    assert!(
        given.is_sorted_by(|before, after| before < after),
        "{given:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn promoted_standby_without_the_end_of_the_log_begins_an_epoch() {
    promote_standby(|_, url| (None, url.to_owned())).await;
}

/// A pgbouncer in session mode leads to another server without that the process notices: it hears of it by its connections.
#[tokio::test(flavor = "multi_thread")]
async fn promoted_standby_behind_pgbouncer_begins_an_epoch() {
    promote_standby(|server, url| {
        let bouncer = PgBouncer::start(server, url).unwrap();
        let behind = bouncer.url(url);
        (Some(bouncer), behind)
    })
    .await;
}

async fn promote_standby(
    connect: impl FnOnce(&PostgresServer, &str) -> (Option<PgBouncer>, String),
) {
    let Some(mut server) = PostgresServer::start().unwrap() else {
        return;
    };
    let url = server.new_database().unwrap();
    let (_bouncer, url) = connect(&server, &url);
    let database = Database::open(&url, system_options()).await.unwrap();
    let log = ChangeLog::new(database.clone(), Bus::in_process(), LogOwner::Identity);
    add(&log, tailnet(1), "kept").await.unwrap();
    let standby = server.start_standby().unwrap();
    standby.catch_up_with(&server).unwrap();
    standby.stop_following().unwrap();
    add(&log, tailnet(1), "lost").await.unwrap();
    assert_eq!(revision(&log).await, 2);
    let mut epoch = database.watch_epoch();
    server.replace_by_standby(standby).unwrap();
    let back = timeout(Duration::from_secs(30), async {
        loop {
            if let Ok(revision) = add(&log, tailnet(1), "new").await {
                return revision.get();
            }
        }
    });
    let found = back.await.unwrap();
    let base = *epoch.borrow_and_update();
    assert!(base > 2);
    assert_eq!(found, base + 1, "the first write on it is above the base");
    assert_eq!(changes(&log, 2).await, Changes::Compacted);
    // A crash and a restart of the same server lose nothing, and begin nothing.
    server.kill9();
    server.restart().unwrap();
    let reopened = Database::open(&url, system_options()).await.unwrap();
    assert_eq!(*reopened.watch_epoch().borrow(), base);
}
