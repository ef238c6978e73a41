//! Mutations that wait share a commit, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bowline_db::{AuditVerdict, Changes, DatabaseError, SqlDialect};
use bowline_ids::Revision;
use bowline_test_servers::{TestDatabase, on_both};
use futures_util::future::join_all;
use tokio::sync::{Barrier, Notify};

use crate::support::{TestLog, add, insert, tailnet};

on_both!(TestLog::open =>
    a_dropped_caller_changes_nothing_for_others,
    a_full_queue_refuses_with_a_retry_time,
    a_panicking_mutation_fails_its_commit_alone,
    a_slow_batch_leaves_the_rest_to_the_next,
    concurrent_mutations_and_failures_leave_no_holes,
    mutations_that_wait_share_a_commit,
    one_failure_does_not_touch_its_neighbours,
    replicas_take_turns,
    time_of_a_mutation_is_not_before_the_end_of_the_one_before,
);

/// Holds the lane of a tailnet until told; returns once it is held.
async fn hold(fixture: &TestLog) -> (Arc<Notify>, tokio::task::JoinHandle<()>) {
    let (log, go, held) = (
        fixture.log.clone(),
        Arc::new(Notify::new()),
        Arc::new(Barrier::new(2)),
    );
    let (wait, arrive) = (go.clone(), held.clone());
    let holder = tokio::spawn(async move {
        let work = log.mutate(tailnet(1), "holder", move |_| {
            Box::pin(async move {
                arrive.wait().await;
                wait.notified().await;
                Ok::<_, DatabaseError>(())
            })
        });
        work.await.unwrap();
    });
    held.wait().await;
    (go, holder)
}

/// The commits that the tailnet's entries came in: entries of one commit have one time.
async fn commits(fixture: &TestLog) -> usize {
    let times: Vec<i64> =
        sqlx::query_scalar("SELECT committed_at FROM change_log WHERE tailnet_id = 1")
            .fetch_all(fixture.database().reader())
            .await
            .unwrap();
    times.into_iter().collect::<BTreeSet<_>>().len()
}

async fn mutations_that_wait_share_a_commit(fixture: TestLog) {
    let (go, holder) = hold(&fixture).await;
    let waiting: Vec<_> = (0..100)
        .map(|index| {
            let log = fixture.log.clone();
            tokio::spawn(async move { add(&log, tailnet(1), &format!("n{index}")).await })
        })
        .collect();
    while fixture.log.count_waiting(tailnet(1)) < 100 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    holder.await.unwrap();
    let mut revisions: Vec<u64> = join_all(waiting)
        .await
        .into_iter()
        .map(|added| added.unwrap().unwrap().get())
        .collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=100));
    // At most 64 share one.
    assert_eq!(commits(&fixture).await, 2);
}

async fn one_failure_does_not_touch_its_neighbours(fixture: TestLog) {
    let (go, holder) = hold(&fixture).await;
    let names = ["a", "b", "a", "c", "b", "d"];
    let waiting = names.map(|name| {
        let log = fixture.log.clone();
        tokio::spawn(async move { add(&log, tailnet(1), name).await })
    });
    while fixture.log.count_waiting(tailnet(1)) < names.len() {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    holder.await.unwrap();
    let results: Vec<_> = join_all(waiting)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4);
    let mut revisions: Vec<_> = results.into_iter().flatten().map(Revision::get).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3, 4]);
    assert_eq!(fixture.names(tailnet(1)).await, ["a", "b", "c", "d"]);
    let verdict = fixture.log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(verdict, AuditVerdict::Whole { entries: 4 });
}

async fn concurrent_mutations_and_failures_leave_no_holes(fixture: TestLog) {
    let work = (0..8_u64).map(|worker| {
        let log = fixture.log.clone();
        tokio::spawn(async move {
            let mut succeeded = 0;
            for turn in 0..25 {
                // Every worker tries the same names: about seven of eight fail.
                let result = add(&log, tailnet(1 + worker % 2), &format!("n{turn}")).await;
                succeeded += u64::from(result.is_ok());
            }
            succeeded
        })
    });
    let succeeded: u64 = join_all(work).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(succeeded, 50);
    for id in [1, 2] {
        let changes = fixture
            .log
            .changes_since(tailnet(id), Revision::ZERO, 1000)
            .await
            .unwrap();
        let Changes::Entries(entries) = changes else {
            panic!("{changes:?}")
        };
        assert!(
            entries
                .iter()
                .map(|(revision, _)| revision.get())
                .eq(1..=25)
        );
        let written: BTreeSet<_> = entries.into_iter().map(|(_, entry)| entry).collect();
        assert_eq!(written.len(), 25);
    }
}

async fn a_dropped_caller_changes_nothing_for_others(fixture: TestLog) {
    let (go, holder) = hold(&fixture).await;
    let log = fixture.log.clone();
    let dropped = tokio::spawn(async move { add(&log, tailnet(1), "a").await });
    while fixture.log.count_waiting(tailnet(1)) < 1 {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    go.notify_one();
    holder.await.unwrap();
    assert_eq!(
        add(&fixture.log, tailnet(1), "b").await.unwrap(),
        Revision::new(2)
    );
    assert_eq!(fixture.names(tailnet(1)).await, ["a", "b"]);
}

async fn a_panicking_mutation_fails_its_commit_alone(fixture: TestLog) {
    let result: Result<((), _), DatabaseError> = fixture
        .log
        .mutate(tailnet(1), "t", |mutation| {
            Box::pin(async move {
                insert(mutation, "a").await?;
                panic!("a defect");
            })
        })
        .await;
    assert!(
        matches!(result, Err(DatabaseError::Unavailable { .. })),
        "{result:?}"
    );
    assert_eq!(
        add(&fixture.log, tailnet(1), "b").await.unwrap(),
        Revision::new(1)
    );
    assert_eq!(fixture.names(tailnet(1)).await, ["b"]);
}

#[test]
fn a_runtime_that_ends_in_a_panic_ends_its_lanes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let working = move || {
        runtime.block_on(async {
            let fixture = TestLog::open(TestDatabase::sqlite().unwrap()).await;
            let _held = hold(&fixture).await;
            panic!("a defect");
        });
    };
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(working));
    assert!(ended.is_err());
}

async fn a_full_queue_refuses_with_a_retry_time(fixture: TestLog) {
    let (go, holder) = hold(&fixture).await;
    let work = (0..1100).map(|index| {
        let log = fixture.log.clone();
        async move { add(&log, tailnet(1), &format!("n{index}")).await }
    });
    let release = async {
        while fixture.log.count_waiting(tailnet(1)) < 1024 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        holder.await.unwrap();
    };
    let (results, ()) = tokio::join!(join_all(work), release);
    let refused = results.iter().filter(|result| {
        matches!(result, Err(DatabaseError::Unavailable { retry_after, .. }) if !retry_after.is_zero())
    });
    assert_eq!(refused.count(), 1100 - 1024);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1024);
}

async fn a_slow_batch_leaves_the_rest_to_the_next(fixture: TestLog) {
    let (go, holder) = hold(&fixture).await;
    let log = fixture.log.clone();
    let slow = tokio::spawn(async move {
        let work = log.mutate(tailnet(1), "t", |mutation| {
            Box::pin(async move {
                insert(mutation, "slow").await?;
                // The database's slowness, not the test's patience.
                tokio::time::sleep(Duration::from_millis(1100)).await;
                Ok::<_, DatabaseError>(())
            })
        });
        work.await.unwrap().1
    });
    let mut waiting = vec![slow];
    for name in ["a", "b"] {
        while fixture.log.count_waiting(tailnet(1)) < waiting.len() {
            tokio::task::yield_now().await;
        }
        let log = fixture.log.clone();
        waiting.push(tokio::spawn(async move {
            add(&log, tailnet(1), name).await.unwrap()
        }));
    }
    while fixture.log.count_waiting(tailnet(1)) < waiting.len() {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    holder.await.unwrap();
    let revisions: Vec<_> = join_all(waiting)
        .await
        .into_iter()
        .map(|revision| revision.unwrap().get())
        .collect();
    assert_eq!(revisions, [1, 2, 3]);
    assert_eq!(commits(&fixture).await, 2);
}

async fn replicas_take_turns(fixture: TestLog) {
    let replica = fixture.second_replica().await;
    let work = (0..40).map(|turn| {
        let log = if turn % 2 == 0 {
            fixture.log.clone()
        } else {
            replica.clone()
        };
        tokio::spawn(async move { add(&log, tailnet(1), &format!("n{turn}")).await.unwrap() })
    });
    let mut revisions: Vec<_> = join_all(work)
        .await
        .into_iter()
        .map(|revision| revision.unwrap().get())
        .collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=40));
}

/// Waits until a mutation waits for the counter lock of another replica.
async fn wait_for_waiting_lock(fixture: &TestLog) {
    if fixture.database().dialect() == SqlDialect::Sqlite {
        return;
    }
    let sql = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO heads%'";
    let count = || sqlx::query_scalar::<_, i64>(sql).fetch_one(fixture.database().reader());
    while count().await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
}

async fn time_of_a_mutation_is_not_before_the_end_of_the_one_before(fixture: TestLog) {
    let replicas = [
        fixture.second_replica().await,
        fixture.second_replica().await,
    ];
    let [first, second] = replicas;
    add(&first, tailnet(1), "a").await.unwrap();
    let (go, held) = (Arc::new(Notify::new()), Arc::new(Barrier::new(2)));
    let (wait, arrive) = (go.clone(), held.clone());
    let before = tokio::spawn(async move {
        let database = first.database().clone();
        let work = first.mutate(tailnet(1), "t", move |_| {
            Box::pin(async move {
                arrive.wait().await;
                wait.notified().await;
                database.now().await
            })
        });
        work.await.unwrap().0
    });
    held.wait().await;
    let behind = tokio::spawn(async move {
        let work = second.mutate(tailnet(1), "t", |mutation| {
            let now = mutation.now();
            Box::pin(async move { Ok::<_, DatabaseError>(now) })
        });
        work.await.unwrap().0
    });
    wait_for_waiting_lock(&fixture).await;
    go.notify_one();
    let (ended_at, began_at) = (before.await.unwrap(), behind.await.unwrap());
    assert!(ended_at <= began_at, "{ended_at} {began_at}");
}
