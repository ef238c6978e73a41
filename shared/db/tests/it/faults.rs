//! A database that goes away: answered mutations stay, the rest says "unavailable", and nothing needs a restart.

use std::{
    future::{Future, ready},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bowline_bus::{Bus, LogOwner};
use bowline_db::{AuditVerdict, ChangeLog, Changes, Database, DatabaseError};
use bowline_ids::Revision;
use bowline_test_servers::{PostgresServer, TestDatabase};

use crate::support::{TestLog, add, system_options, tailnet};

/// Retries until the database is back.
async fn add_when_back(log: &ChangeLog, name: &str) -> Revision {
    let retry = async {
        loop {
            match add(log, tailnet(1), name).await {
                Ok(revision) => return revision,
                Err(DatabaseError::Unavailable { .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), retry)
        .await
        .expect("the database comes back")
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_mutations_survive_the_death_of_postgres() {
    let Some(mut server) = PostgresServer::start().unwrap() else {
        return;
    };
    let url = server.new_database().unwrap();
    let database = Database::open(&url, system_options()).await.unwrap();
    let log = ChangeLog::new(database, Bus::in_process(), LogOwner::Identity);
    let mut answered = Vec::new();
    for round in 0..3 {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut answered = Vec::new();
                    for turn in 0.. {
                        let name = format!("r{round}w{writer}t{turn}");
                        match add(&log, tailnet(1), &name).await {
                            Ok(_) => answered.push(name),
                            Err(DatabaseError::Unavailable { .. }) => return answered,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    answered
                })
            })
            .collect();
        let target = Revision::new(log.heads(&[tailnet(1)]).await.unwrap()[0].revision.get() + 40);
        while log
            .heads(&[tailnet(1)])
            .await
            .is_ok_and(|heads| heads[0].revision < target)
        {}
        server.kill9();
        for writer in writers {
            answered.extend(writer.await.unwrap());
        }
        server.restart().unwrap();
        add_when_back(&log, &format!("back{round}")).await;
    }
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM things")
        .fetch_all(log.database().reader())
        .await
        .unwrap();
    assert!(answered.iter().all(|name| names.contains(name)));
    let changes = log
        .changes_since(tailnet(1), Revision::ZERO, 100_000)
        .await
        .unwrap();
    let Changes::Entries(entries) = changes else {
        panic!("{changes:?}")
    };
    assert_eq!(entries.len(), names.len(), "one entry for each row");
    let verdict = log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(
        verdict,
        AuditVerdict::Whole {
            entries: names.len() as u64
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_too_long_is_unavailable() {
    let Some(database) = TestDatabase::postgres().unwrap() else {
        return;
    };
    let fixture = TestLog::open(database).await;
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let other = sqlx::AnyPool::connect(&fixture.url).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "nobody goes away here")]
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE things.heads")
        .execute(&mut *lock)
        .await
        .unwrap();
    let error = add(&fixture.log, tailnet(1), "b").await.unwrap_err();
    assert!(
        matches!(error, DatabaseError::Unavailable { .. }),
        "{error}"
    );
    lock.rollback().await.unwrap();
    assert_eq!(
        add(&fixture.log, tailnet(1), "b").await.unwrap(),
        Revision::new(2)
    );
}

/// Looks at what is under way so often, and drops it then.
async fn abandon_after(looks: usize, work: impl Future) {
    let mut work = std::pin::pin!(work);
    let mut left = looks;
    std::future::poll_fn(|context| {
        if left == 0 || work.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_no_transaction_open() {
    let Some(database) = TestDatabase::postgres().unwrap() else {
        return;
    };
    let fixture = TestLog::open(database).await;
    for round in 0..100 {
        let database = fixture.database();
        abandon_after(1 + round % 5, database.begin_read()).await;
        let write = database.write(|_| Box::pin(ready(Ok::<_, DatabaseError>(()))));
        abandon_after(1 + round % 5, write).await;
        let name = format!("n{round}");
        add(&fixture.log, tailnet(1), &name).await.unwrap();
        // Each connection of the pool is asked, so also the one that was left.
        for _ in 0..8 {
            assert_eq!(fixture.names(tailnet(1)).await.len(), round + 1);
        }
    }
    let other = sqlx::AnyPool::connect(&fixture.url).await.unwrap();
    let count_open =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    let are_ended = async {
        while sqlx::query_scalar::<_, i64>(count_open)
            .fetch_one(&other)
            .await
            .unwrap()
            > 0
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), are_ended)
        .await
        .expect("no transaction stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_in_a_mutation_leaves_nothing_of_it() {
    // The runtime goes with everything in it, as the process would; the file is opened again.
    let fixture = Arc::new(TestLog::open(TestDatabase::sqlite().unwrap()).await);
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let url = fixture.url.clone();
    let crash = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            let database = Database::open(&url, system_options()).await.unwrap();
            let log = ChangeLog::new(database, Bus::in_process(), LogOwner::Identity);
            let work = log.mutate(tailnet(1), "t", move |mutation| {
                Box::pin(async move {
                    crate::support::insert(mutation, "b").await?;
                    sender.send(()).unwrap();
                    std::future::pending::<Result<(), DatabaseError>>().await
                })
            });
            work.await.unwrap();
        });
        runtime.block_on(receiver).unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    crash.join().unwrap();
    assert_eq!(add_when_back(&fixture.log, "c").await, Revision::new(2));
    assert_eq!(fixture.names(tailnet(1)).await, ["a", "c"]);
}
