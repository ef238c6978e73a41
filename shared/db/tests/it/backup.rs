//! Backups: what one database has, a database of either kind is made from.

use std::{io::Cursor, sync::Arc};

use bowline_clock::SystemClock;
use bowline_db::{
    AuditVerdict, BackupError, BackupHeader, BackupReader, BackupSource, BackupWriter, ChangeLog,
    Database, DatabaseOptions, Migration, Migrations, RestoreTarget, next_id,
};
use bowline_ids::Revision;
use bowline_test_servers::{TestDatabase, on_both};
use chrono::Utc;
use sqlx::Row as _;

use crate::support::{MIGRATIONS, TestLog, add, system_options, tailnet};

on_both!(TestLog::open =>
    either_kind_is_made_from_a_backup_and_goes_on_above_it,
    what_is_there_is_kept_unless_it_is_to_be_replaced,
    database_that_a_process_uses_is_not_touched,
    older_schema_is_brought_up_to_date_and_a_newer_one_refused
);

const SCHEMA: &str = "things";

async fn take_backup(url: &str) -> Vec<u8> {
    let mut writer = BackupWriter::begin(Vec::new(), BackupHeader::new(Utc::now())).unwrap();
    let mut source = BackupSource::open(url).await.unwrap();
    writer
        .add_schema(&mut source, SCHEMA, &|_, _| {})
        .await
        .unwrap();
    writer
        .add_file("keys/control.key", b"\x00secret\xff")
        .unwrap();
    writer.finish().unwrap()
}

async fn restore(
    backup: &[u8],
    url: &str,
    options: &DatabaseOptions,
    is_replaced: bool,
) -> Result<BackupReader, BackupError> {
    BackupReader::check(Cursor::new(backup.to_vec()))?;
    let mut reader = BackupReader::begin(Cursor::new(backup.to_vec()))?;
    assert_eq!(reader.next_database()?.as_deref(), Some(SCHEMA));
    let mut target = RestoreTarget::open(url).await?;
    target
        .restore_schema(&mut reader, options, is_replaced, &|_, _| {})
        .await?;
    target.commit().await?;
    Ok(reader)
}

/// An empty database of a kind; `None` where PostgreSQL is not installed.
fn empty_database(is_postgres: bool) -> Option<TestDatabase> {
    match is_postgres {
        true => TestDatabase::postgres().unwrap(),
        false => Some(TestDatabase::sqlite().unwrap()),
    }
}

async fn fill(fixture: &TestLog) {
    add(&fixture.log, tailnet(1), "plain").await.unwrap();
    add(&fixture.log, tailnet(2), "other").await.unwrap();
    fixture
        .execute(
            "UPDATE things SET note = 'with \"quotes\", 日本 and\nlines', size = 9007199254740993 WHERE name = 'plain'",
        )
        .await;
    fixture
        .execute(match fixture.url.starts_with("sqlite") {
            true => "UPDATE things SET data = x'00ff10' WHERE name = 'plain'",
            false => "UPDATE things SET data = '\\x00ff10' WHERE name = 'plain'",
        })
        .await;
}

type Thing = (
    i64,
    i64,
    String,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
);

async fn things(database: &Database) -> Vec<Thing> {
    let rows = sqlx::query("SELECT id, tailnet_id, name, note, data, size FROM things ORDER BY id")
        .fetch_all(database.reader())
        .await
        .unwrap();
    let read = |row: &sqlx::any::AnyRow| {
        (
            row.get(0),
            row.get(1),
            row.get(2),
            row.get(3),
            row.get(4),
            row.get(5),
        )
    };
    rows.iter().map(read).collect()
}

async fn either_kind_is_made_from_a_backup_and_goes_on_above_it(fixture: TestLog) {
    fill(&fixture).await;
    let backup = take_backup(&fixture.url).await;
    for is_postgres in [false, true] {
        let Some(target) = empty_database(is_postgres) else {
            continue;
        };
        let url = target.url("restored.db");
        let mut reader = restore(&backup, &url, &system_options(), false)
            .await
            .unwrap();
        assert_eq!(reader.next_database().unwrap(), None);
        let file = reader.next_file().unwrap();
        let expected = ("keys/control.key".to_owned(), b"\x00secret\xff".to_vec());
        assert_eq!(file, Some(expected));
        assert_eq!(reader.next_file().unwrap(), None);

        let restored = Database::open(&url, system_options()).await.unwrap();
        assert_eq!(things(&restored).await, things(fixture.database()).await);
        let base = *restored.watch_epoch().borrow();
        assert!(base > 0, "an epoch began");
        let log = ChangeLog::new(
            restored.clone(),
            fixture.bus.clone(),
            bowline_bus::LogOwner::Identity,
        );
        let verdict = log.verify_audit(tailnet(1)).await.unwrap();
        assert_eq!(verdict, AuditVerdict::Whole { entries: 2 });
        let trail = log.audit_entries(tailnet(1), 1, 1).await.unwrap();
        assert!(trail[0].detail.contains("a backup was restored"));
        let added = add(&log, tailnet(1), "new").await.unwrap();
        assert_eq!(added, Revision::new(base + 1));
        let id = restored.write(|write| Box::pin(async move { next_id(write.connection()).await }));
        assert!(id.await.unwrap().cast_unsigned() > base);
    }
}

async fn what_is_there_is_kept_unless_it_is_to_be_replaced(fixture: TestLog) {
    fill(&fixture).await;
    let backup = take_backup(&fixture.url).await;
    add(&fixture.log, tailnet(1), "later").await.unwrap();
    let count = things(fixture.database()).await.len();
    let refused = restore(&backup, &fixture.url, &system_options(), false).await;
    assert!(matches!(
        refused.err().unwrap(),
        BackupError::NotEmpty { .. }
    ));
    assert_eq!(things(fixture.database()).await.len(), count);
    // Neither does a backup that is damaged change anything.
    for damaged in [
        backup[..backup.len() - 9].to_vec(),
        {
            let mut flipped = backup.clone();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            flipped
        },
        b"not a backup".to_vec(),
    ] {
        let refused = restore(&damaged, &fixture.url, &system_options(), true).await;
        let error = refused.err().unwrap();
        assert!(
            matches!(error, BackupError::Damaged(_) | BackupError::File(_)),
            "{error}"
        );
    }
    assert_eq!(things(fixture.database()).await.len(), count);
    restore(&backup, &fixture.url, &system_options(), true)
        .await
        .unwrap();
    let reopened = Database::open(&fixture.url, system_options())
        .await
        .unwrap();
    assert_eq!(things(&reopened).await.len(), count - 1);
}

async fn database_that_a_process_uses_is_not_touched(fixture: TestLog) {
    fill(&fixture).await;
    let backup = take_backup(&fixture.url).await;
    if fixture.url.starts_with("sqlite") {
        // The process that has the file holds it by its own lock.
        return;
    }
    let seen = "INSERT INTO processes (service, id, version, level, seen_at)
        VALUES ('identity', 'a', '0.2.0', 1, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))";
    fixture.execute(seen).await;
    let refused = restore(&backup, &fixture.url, &system_options(), true).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.starts_with("identity ran on the database"), "{error}");
    fixture
        .execute("UPDATE processes SET seen_at = seen_at - 30000000")
        .await;
    restore(&backup, &fixture.url, &system_options(), true)
        .await
        .unwrap();
}

/// The schema of the release after that of [`MIGRATIONS`].
const NEXT: Migrations = &[
    MIGRATIONS[0],
    Migration {
        name: "0002_colours",
        postgres: "ALTER TABLE things ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
        sqlite: "ALTER TABLE things ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
        least_level: 0,
    },
];

async fn older_schema_is_brought_up_to_date_and_a_newer_one_refused(fixture: TestLog) {
    fill(&fixture).await;
    let backup = take_backup(&fixture.url).await;
    let next = DatabaseOptions::new(SCHEMA, NEXT, Arc::new(SystemClock));
    let target = empty_database(!fixture.url.starts_with("sqlite")).unwrap();
    let url = target.url("restored.db");
    restore(&backup, &url, &next, false).await.unwrap();
    let restored = Database::open(&url, next).await.unwrap();
    let colours: Vec<String> = sqlx::query_scalar("SELECT colour FROM things")
        .fetch_all(restored.reader())
        .await
        .unwrap();
    assert_eq!(colours, ["red", "red"]);
    let newer = take_backup(&url).await;
    let refused = restore(&newer, &fixture.url, &system_options(), true).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("newer release"), "{error}");
}
