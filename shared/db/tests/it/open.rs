//! Opening and migrating.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bowline_clock::{Clock, SystemClock};
use bowline_db::{Database, DatabaseOpenError, Migration};
use bowline_service_kit::SCHEMA_LEVEL;
use bowline_test_servers::{TestDatabase, on_both};
use futures_util::future::join_all;

use crate::support::{TestLog, add, options, system_options, tailnet};

on_both!(TestLog::open =>
    a_failed_migration_leaves_the_schema,
    a_foreign_schema_is_refused,
    a_schema_that_needs_a_newer_release_is_refused,
    a_schema_with_more_in_it_is_used,
    data_survives_opening_again,
    replicas_may_start_together,
    server_time_is_about_the_machine_s,
);

const NEXT: &[Migration] = &[
    crate::support::MIGRATIONS[0],
    migration("0002_next", "CREATE TABLE n (x BIGINT)"),
];
const BROKEN: &[Migration] = &[
    crate::support::MIGRATIONS[0],
    migration("0002_broken", "CREATE TABLE m (x BIGINT); nonsense"),
];
/// After it, only a release of the next level works with the schema.
const CONTRACTED: &[Migration] = &[
    crate::support::MIGRATIONS[0],
    Migration {
        least_level: SCHEMA_LEVEL + 1,
        ..migration("0002_contracted", "ALTER TABLE things DROP COLUMN note")
    },
];
const FOREIGN: &[Migration] = &[migration("0001_other", "CREATE TABLE o (x BIGINT)")];

const fn migration(name: &'static str, sql: &'static str) -> Migration {
    Migration {
        name,
        postgres: sql,
        sqlite: sql,
        least_level: 0,
    }
}

async fn open(
    fixture: &TestLog,
    migrations: &'static [Migration],
) -> Result<Database, DatabaseOpenError> {
    let mut options = options(fixture.clock.clone());
    options.migrations = migrations;
    Database::open(&fixture.url, options).await
}

async fn data_survives_opening_again(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let again = open(&fixture, NEXT).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM things, heads")
        .fetch_one(again.reader())
        .await
        .unwrap();
    assert_eq!(count, 1);
    sqlx::query("SELECT x FROM n")
        .fetch_all(again.reader())
        .await
        .unwrap();
}

async fn a_schema_with_more_in_it_is_used(fixture: TestLog) {
    open(&fixture, NEXT).await.unwrap();
    let earlier = open(&fixture, crate::support::MIGRATIONS).await.unwrap();
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    assert_eq!(earlier.schema_level(), SCHEMA_LEVEL);
}

async fn a_schema_that_needs_a_newer_release_is_refused(fixture: TestLog) {
    let mut newer = options(fixture.clock.clone());
    (newer.migrations, newer.level) = (CONTRACTED, SCHEMA_LEVEL + 1);
    Database::open(&fixture.url, newer.clone()).await.unwrap();
    Database::open(&fixture.url, newer).await.unwrap();
    let error = open(&fixture, crate::support::MIGRATIONS)
        .await
        .unwrap_err();
    let (text, next) = (error.to_string(), SCHEMA_LEVEL + 1);
    let says =
        format!("is in use at schema level {next} and this program knows level {SCHEMA_LEVEL}");
    assert!(text.contains(&says), "{text}");
}

async fn a_foreign_schema_is_refused(fixture: TestLog) {
    let error = open(&fixture, FOREIGN).await.unwrap_err();
    assert!(
        matches!(error, DatabaseOpenError::Foreign { number: 1, .. }),
        "{error}"
    );
}

async fn a_failed_migration_leaves_the_schema(fixture: TestLog) {
    let error = open(&fixture, BROKEN).await.unwrap_err();
    assert!(
        matches!(
            error,
            DatabaseOpenError::Migration {
                name: "0002_broken",
                ..
            }
        ),
        "{error}"
    );
    let database = open(&fixture, crate::support::MIGRATIONS).await.unwrap();
    assert!(
        sqlx::query("SELECT x FROM m")
            .fetch_all(database.reader())
            .await
            .is_err()
    );
}

async fn replicas_may_start_together(fixture: TestLog) {
    let opened = join_all((0..4).map(|_| open(&fixture, NEXT))).await;
    for database in opened {
        database.unwrap();
    }
}

async fn server_time_is_about_the_machine_s(fixture: TestLog) {
    let database = Database::open(&fixture.url, system_options())
        .await
        .unwrap();
    let difference = database.now().await.unwrap() - SystemClock.now();
    assert!(difference.num_seconds().abs() < 60, "{difference}");
}

#[tokio::test]
async fn a_sqlite_file_is_for_its_owner_s_eyes_only() {
    let fixture = TestLog::open(TestDatabase::sqlite().unwrap()).await;
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let path = fixture.url.strip_prefix("sqlite://").unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let mode = std::fs::metadata(format!("{path}{suffix}"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}

#[tokio::test]
async fn other_urls_are_refused() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for url in ["", "mysql://x", "sqlite:x", "/tmp/x"] {
        let error = Database::open(url, options(clock.clone()))
            .await
            .unwrap_err();
        assert!(matches!(error, DatabaseOpenError::Url), "{url}");
    }
}
