//! The level that is in use while releases run side by side.

use bowline_clock::Clock as _;
use bowline_db::{Database, DatabaseOpenError};
use bowline_service_kit::{CertificateEnds, ProcessVersion, ServiceName};
use bowline_test_servers::on_both;
use chrono::TimeDelta;

use crate::support::{TestLog, options};

on_both!(TestLog::open =>
    a_level_is_used_once_all_that_live_know_it_and_never_taken_back,
    a_program_below_the_level_in_use_is_refused,
    a_process_that_was_not_watched_raises_nothing,
    processes_are_shown_for_an_hour,
    end_of_a_certificate_is_that_of_the_newest_word,
);

const GATEWAY: ServiceName = ServiceName::NetmapGateway;
const REGISTRY: ServiceName = ServiceName::KeyRegistry;

fn process(id: &str, level: u32) -> ProcessVersion {
    ProcessVersion {
        id: id.to_owned(),
        release: format!("0.{level}.0"),
        level,
        ends: CertificateEnds::default(),
    }
}

/// Returns a database as it is before the first process says its level.
async fn unlevelled(fixture: &TestLog) -> Database {
    let database = fixture.log.database();
    let forget = database.write(|write| {
        Box::pin(async move {
            sqlx::query("DELETE FROM schema_levels")
                .execute(write.connection())
                .await?;
            Ok::<_, bowline_db::DatabaseError>(())
        })
    });
    forget.await.unwrap();
    open(fixture, 9).await.unwrap()
}

async fn open(fixture: &TestLog, level: u32) -> Result<Database, DatabaseOpenError> {
    let mut options = options(fixture.clock.clone());
    options.time = bowline_db::TimeSource::Clock;
    options.level = level;
    Database::open(&fixture.url, options).await
}

async fn a_level_is_used_once_all_that_live_know_it_and_never_taken_back(fixture: TestLog) {
    let database = unlevelled(&fixture).await;
    assert_eq!(database.schema_level(), 0);
    let note = async |seen: Vec<(ServiceName, ProcessVersion)>| {
        database.note_processes(seen, true).await.unwrap()
    };
    let old = (GATEWAY, process("", 0));
    let two = (REGISTRY, process("a", 2));
    assert_eq!(note(vec![old, two.clone()]).await, 0);
    fixture.clock.advance(TimeDelta::seconds(59));
    assert_eq!(note(vec![two.clone()]).await, 0, "the old one may live");
    fixture.clock.advance(TimeDelta::seconds(2));
    assert_eq!(note(vec![two.clone(), (GATEWAY, process("b", 1))]).await, 1);
    assert_eq!(
        note(vec![two.clone(), (GATEWAY, process("c", 0))]).await,
        1,
        "not taken back"
    );
    fixture.clock.advance(TimeDelta::seconds(61));
    assert_eq!(note(vec![two, (GATEWAY, process("d", 3))]).await, 2);
    assert_eq!(database.schema_level(), 2);
    assert_eq!(open(&fixture, 9).await.unwrap().schema_level(), 2);
}

async fn a_program_below_the_level_in_use_is_refused(fixture: TestLog) {
    let database = unlevelled(&fixture).await;
    let seen = vec![(REGISTRY, process("a", 2))];
    assert_eq!(database.note_processes(seen, true).await.unwrap(), 2);
    let refused = open(&fixture, 1).await.unwrap_err();
    assert!(
        matches!(
            refused,
            DatabaseOpenError::Newer {
                needed: 2,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
    open(&fixture, 2).await.unwrap();
}

async fn a_process_that_was_not_watched_raises_nothing(fixture: TestLog) {
    let database = unlevelled(&fixture).await;
    let seen = vec![(REGISTRY, process("a", 2))];
    assert_eq!(database.note_processes(seen, false).await.unwrap(), 0);
}

async fn processes_are_shown_for_an_hour(fixture: TestLog) {
    let database = fixture.log.database();
    let noted_at = fixture.clock.now();
    let seen = vec![(REGISTRY, process("a", 1)), (GATEWAY, process("b", 1))];
    database.note_processes(seen, true).await.unwrap();
    let shown = database.list_processes().await.unwrap();
    let services: Vec<_> = shown.iter().map(|one| &*one.service).collect();
    assert_eq!(services, ["key-registry", "netmap-gateway"]);
    assert_eq!(shown[0].version, process("a", 1));
    assert!(shown.iter().all(|one| one.seen_at >= noted_at));
    fixture.clock.advance(TimeDelta::minutes(61));
    let seen = vec![(GATEWAY, process("b", 1))];
    database.note_processes(seen, true).await.unwrap();
    assert_eq!(database.list_processes().await.unwrap().len(), 1);
}

async fn end_of_a_certificate_is_that_of_the_newest_word(fixture: TestLog) {
    let database = fixture.log.database();
    let ending = |services, clients| {
        let ends = CertificateEnds { services, clients };
        let version = ProcessVersion {
            ends,
            ..process("b", 1)
        };
        vec![(GATEWAY, version)]
    };
    for ends in [(Some(1), None), (Some(2), Some(3))] {
        let seen = ending(ends.0, ends.1);
        database.note_processes(seen, true).await.unwrap();
        let shown = database.list_processes().await.unwrap();
        assert_eq!(shown.len(), 1);
        let found = shown[0].version.ends;
        assert_eq!((found.services, found.clients), ends);
    }
}
