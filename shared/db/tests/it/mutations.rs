//! What a mutation leaves, and what a failed one does not.

use bowline_bus::{Event, Hint, LogOwner};
use bowline_db::{
    Changes, DatabaseError, Mutation, SqlDialect, StatementGroup, keep_id, next_id, next_id_sql,
};
use bowline_ids::Revision;
use bowline_test_servers::on_both;
use sqlx::Row;

use crate::support::{TestLog, add, insert, start, tailnet};

on_both!(TestLog::open =>
    a_conflict_names_the_same_constraint,
    a_failed_mutation_leaves_nothing,
    a_group_of_statements_is_done_whole_or_not_at_all,
    a_hint_follows_the_commit,
    a_passed_over_error_does_not_commit,
    entries_of_one_mutation_follow_each_other,
    ids_are_never_given_twice,
    ids_that_a_statement_reads_are_given_once,
    nulls_and_bytes_survive,
    revisions_are_per_tailnet,
    the_injected_clock_counts,
    writes_without_a_tailnet_roll_back,
);

async fn revisions_are_per_tailnet(fixture: TestLog) {
    for (id, name, expected) in [(1, "a", 1), (1, "b", 2), (2, "a", 1), (1, "c", 3)] {
        let revision = add(&fixture.log, tailnet(id), name).await.unwrap();
        assert_eq!(revision, Revision::new(expected));
    }
    let heads = fixture
        .log
        .heads(&[tailnet(2), tailnet(9), tailnet(1)])
        .await
        .unwrap();
    let revisions: Vec<u64> = heads.iter().map(|head| head.revision.get()).collect();
    assert_eq!(revisions, [1, 0, 3]);
}

async fn entries_of_one_mutation_follow_each_other(fixture: TestLog) {
    let three = |mutation: &mut Mutation| {
        for text in ["x", "y", "z"] {
            mutation.record_entry(&text.to_owned());
        }
    };
    let (_, revision) = fixture
        .log
        .mutate(tailnet(1), "t", move |mutation| {
            Box::pin(async move {
                three(mutation);
                Ok::<_, DatabaseError>(())
            })
        })
        .await
        .unwrap();
    assert_eq!(revision, Revision::new(3));
    let Changes::Entries(entries) = fixture
        .log
        .changes_since(tailnet(1), Revision::new(1), 10)
        .await
        .unwrap()
    else {
        panic!("nothing is compacted")
    };
    let texts: Vec<_> = entries
        .iter()
        .map(|(revision, entry)| (revision.get(), entry[2]))
        .collect();
    assert_eq!(texts, [(2, b'y'), (3, b'z')]);
}

async fn a_failed_mutation_leaves_nothing(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let result: Result<((), _), DatabaseError> = fixture
        .log
        .mutate(tailnet(1), "t", |mutation| {
            Box::pin(async move {
                insert(mutation, "b").await?;
                insert(mutation, "a").await
            })
        })
        .await;
    assert!(
        matches!(result, Err(DatabaseError::Conflict { .. })),
        "{result:?}"
    );
    assert_eq!(fixture.names(tailnet(1)).await, ["a"]);
    assert_eq!(
        fixture.log.heads(&[tailnet(1)]).await.unwrap()[0].revision,
        Revision::new(1)
    );
    assert_eq!(
        fixture
            .log
            .audit_entries(tailnet(1), 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        add(&fixture.log, tailnet(1), "b").await.unwrap(),
        Revision::new(2)
    );
}

/// Changes a thing's size, and adds two things, in one round trip.
async fn change_and_add(mutation: &mut Mutation, names: [&str; 2]) -> Result<(), DatabaseError> {
    let mut group = StatementGroup::default();
    group.add("UPDATE things SET size = $2 WHERE name = $1");
    group.bind("a".to_owned()).bind(Some(7_i64));
    for name in names {
        let dialect = SqlDialect::of(mutation.connection());
        let sql = format!("SELECT {}", next_id_sql(dialect));
        let id: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(mutation.connection())
            .await?;
        let id = id + i64::from(name == names[1] && dialect == SqlDialect::Sqlite);
        group.add("INSERT INTO things (id, tailnet_id, name, note) VALUES ($1, $2, $3, $4)");
        group.bind(id).bind(i64::from(mutation.tailnet()));
        group.bind(name.to_owned()).bind(None::<String>);
        keep_id(&mut group, dialect, id);
    }
    group.execute(mutation.connection()).await
}

async fn a_group_of_statements_is_done_whole_or_not_at_all(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let run = |names: [&'static str; 2]| {
        let log = fixture.log.clone();
        let changing = async move {
            let work = log.mutate(tailnet(1), "t", move |mutation| {
                Box::pin(change_and_add(mutation, names))
            });
            work.await
        };
        tokio::spawn(changing)
    };
    let conflicting = run(["b", "a"]).await.unwrap();
    assert!(
        matches!(conflicting, Err(DatabaseError::Conflict { .. })),
        "{conflicting:?}"
    );
    let size = "SELECT size FROM things WHERE name = 'a'";
    let read_size = || sqlx::query_scalar::<_, Option<i64>>(size);
    let reader = fixture.database().reader();
    assert_eq!(read_size().fetch_one(reader).await.unwrap(), None);
    assert_eq!(fixture.names(tailnet(1)).await, ["a"]);
    run(["b", "c"]).await.unwrap().unwrap();
    assert_eq!(read_size().fetch_one(reader).await.unwrap(), Some(7));
    assert_eq!(fixture.names(tailnet(1)).await, ["a", "b", "c"]);
}

async fn ids_that_a_statement_reads_are_given_once(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    for names in [["b", "c"], ["d", "e"]] {
        let work = fixture.log.mutate(tailnet(1), "t", move |mutation| {
            Box::pin(change_and_add(mutation, names))
        });
        work.await.unwrap();
        // It takes its own in a statement of its own.
        let name = names[0].repeat(2);
        add(&fixture.log, tailnet(1), &name).await.unwrap();
    }
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM things ORDER BY id")
        .fetch_all(fixture.database().reader())
        .await
        .unwrap();
    assert!(ids.iter().all(|id| *id > 0) && ids.len() == 7, "{ids:?}");
}

async fn a_passed_over_error_does_not_commit(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let result: Result<(bool, _), DatabaseError> = fixture
        .log
        .mutate(tailnet(1), "t", |mutation| {
            Box::pin(async move {
                insert(mutation, "b").await?;
                Ok(insert(mutation, "a").await.is_err())
            })
        })
        .await;
    // PostgreSQL takes nothing more after a failed statement; SQLite undoes that statement alone.
    match result {
        Ok((is_refused, _)) => assert!(is_refused),
        Err(_) => assert_eq!(fixture.names(tailnet(1)).await, ["a"]),
    }
    add(&fixture.log, tailnet(1), "c").await.unwrap();
}

async fn a_conflict_names_the_same_constraint(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let error = add(&fixture.log, tailnet(1), "a").await.unwrap_err();
    let DatabaseError::Conflict { constraint } = error else {
        panic!("{error}")
    };
    assert_eq!(constraint, "things_tailnet_id_name_key");
    for (id, data, expected) in [(1, b"a", "things_pkey"), (1001, b"b", "things_data_key")] {
        let error: DatabaseError = fixture
            .database()
            .write(|write| {
                Box::pin(async move {
                    let sql =
                        "INSERT INTO things (id, tailnet_id, name, data) VALUES ($1, 7, $2, $3)";
                    for (id, name, data) in [(1000, "x", b"b"), (id, "y", data)] {
                        let query = sqlx::query(sql).bind(id).bind(name).bind(data.to_vec());
                        query.execute(write.connection()).await?;
                    }
                    Ok::<(), DatabaseError>(())
                })
            })
            .await
            .unwrap_err();
        let DatabaseError::Conflict { constraint } = error else {
            panic!("{error}")
        };
        assert_eq!(constraint, expected);
    }
}

async fn nulls_and_bytes_survive(fixture: TestLog) {
    let rows = [
        (1_i64, "a", None::<String>, None::<Vec<u8>>, None::<i64>),
        (
            2,
            "b",
            Some("ü".to_owned()),
            Some(vec![0, 255]),
            Some(i64::MIN),
        ),
        (3, "c", Some(String::new()), Some(Vec::new()), Some(0)),
    ];
    let written = rows.clone();
    fixture
        .database()
        .write(|write| {
            Box::pin(async move {
                for (id, name, note, data, size) in written {
                    let returned: Option<i64> = sqlx::query_scalar(
                        "INSERT INTO things (id, tailnet_id, name, note, data, size)
                         VALUES ($1, 1, $2, $3, $4, $5)
                         ON CONFLICT (id) DO UPDATE SET note = excluded.note RETURNING size",
                    )
                    .bind(id)
                    .bind(name)
                    .bind(note)
                    .bind(data)
                    .bind(size)
                    .fetch_one(write.connection())
                    .await?;
                    assert_eq!(returned, size);
                }
                Ok::<_, DatabaseError>(())
            })
        })
        .await
        .unwrap();
    let read = sqlx::query("SELECT id, name, note, data, size FROM things ORDER BY id")
        .fetch_all(fixture.database().reader())
        .await
        .unwrap();
    for (row, (id, name, note, data, size)) in read.iter().zip(rows) {
        assert_eq!(row.get::<i64, _>("id"), id);
        assert_eq!(row.get::<String, _>("name"), name);
        assert_eq!(row.get::<Option<String>, _>("note"), note);
        assert_eq!(row.get::<Option<Vec<u8>>, _>("data"), data);
        assert_eq!(row.get::<Option<i64>, _>("size"), size);
    }
}

async fn a_hint_follows_the_commit(fixture: TestLog) {
    let mut subscription = fixture.bus.subscribe(&[LogOwner::KeyRegistry]);
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    add(&fixture.log, tailnet(1), "a").await.unwrap_err();
    add(&fixture.log, tailnet(1), "b").await.unwrap();
    for revision in [1, 2] {
        let hint = Hint {
            tailnet: tailnet(1),
            revision: Revision::new(revision),
            soft_revision: 0,
        };
        assert_eq!(
            subscription.next().await,
            Some(Event::Hint(LogOwner::KeyRegistry, hint))
        );
    }
}

async fn the_injected_clock_counts(fixture: TestLog) {
    fixture.advance(5);
    let (now, _) = fixture
        .log
        .mutate(tailnet(1), "t", |mutation| {
            Box::pin(async move { Ok::<_, DatabaseError>(mutation.now()) })
        })
        .await
        .unwrap();
    assert_eq!((now - start()).num_seconds(), 5);
    let after = fixture.database().now().await.unwrap();
    assert!(after > now && (after - now).num_seconds() == 0);
}

async fn ids_are_never_given_twice(fixture: TestLog) {
    let (mut ids, database) = (Vec::new(), fixture.database());
    for turn in 0..4 {
        let result: Result<i64, DatabaseError> = database
            .write(|write| {
                Box::pin(async move {
                    let id = next_id(write.connection()).await?;
                    if turn == 1 {
                        Err(DatabaseError::Conflict {
                            constraint: String::new(),
                        })
                    } else {
                        Ok(id)
                    }
                })
            })
            .await;
        ids.extend(result);
    }
    assert!(
        ids.is_sorted_by(|a, b| a < b) && ids[0] >= 1 && ids.len() == 3,
        "{ids:?}"
    );
}

async fn writes_without_a_tailnet_roll_back(fixture: TestLog) {
    let result: Result<(), DatabaseError> = fixture
        .database()
        .write(|write| {
            Box::pin(async move {
                sqlx::query("INSERT INTO things (id, tailnet_id, name) VALUES (1, 1, 'a')")
                    .execute(write.connection())
                    .await?;
                Err(DatabaseError::Inconsistent {
                    table: "things",
                    row: "1".into(),
                })
            })
        })
        .await;
    assert!(result.is_err());
    assert!(fixture.names(tailnet(1)).await.is_empty());
}
