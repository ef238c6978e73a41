//! A change log of a test's own, on either database.

use std::sync::Arc;

use bowline_bus::{Bus, LogOwner};
use bowline_clock::{Clock, ManualClock, SystemClock};
use bowline_db::{
    ChangeLog, Database, DatabaseError, DatabaseOptions, Migration, Mutation, TimeSource, next_id,
};
use bowline_ids::{Revision, TailnetId};
use bowline_test_servers::TestDatabase;
use chrono::{DateTime, TimeDelta, Utc};

/// The table of the tests' own service.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    name: "0001_things",
    postgres:
        "CREATE TABLE things (id BIGINT PRIMARY KEY, tailnet_id BIGINT NOT NULL, name TEXT NOT NULL,
        note TEXT, data BYTEA, size BIGINT, UNIQUE (tailnet_id, name));
        CREATE UNIQUE INDEX things_data_key ON things (data) WHERE data IS NOT NULL",
    sqlite:
        "CREATE TABLE things (id BIGINT PRIMARY KEY, tailnet_id BIGINT NOT NULL, name TEXT NOT NULL,
        note TEXT, data BLOB, size BIGINT, UNIQUE (tailnet_id, name));
        CREATE UNIQUE INDEX things_data_key ON things (data) WHERE data IS NOT NULL",
    least_level: 0,
}];

/// A clock that a test moves, and that never tells the same time twice.
#[derive(Debug)]
pub(crate) struct TickingClock(ManualClock);

impl TickingClock {
    pub(crate) fn advance(&self, time: TimeDelta) {
        self.0.advance(time);
    }
}

impl Clock for TickingClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.advance(TimeDelta::microseconds(1));
        self.0.now()
    }
}

/// A change log that a test has for itself.
pub(crate) struct TestLog {
    pub(crate) log: ChangeLog,
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<TickingClock>,
    pub(crate) url: String,
    _database: TestDatabase,
}

impl TestLog {
    pub(crate) async fn open(database: TestDatabase) -> Self {
        let url = database.url("test.db");
        let clock = Arc::new(TickingClock(ManualClock::new(start())));
        let mut options = options(clock.clone());
        options.time = TimeSource::Clock;
        let opened = Database::open(&url, options).await.unwrap();
        let bus = Bus::in_process();
        let log = ChangeLog::new(opened, bus.clone(), LogOwner::KeyRegistry);
        Self {
            log,
            bus,
            clock,
            url,
            _database: database,
        }
    }

    pub(crate) fn database(&self) -> &Database {
        self.log.database()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.0.advance(TimeDelta::seconds(seconds));
    }

    /// The same database, opened by another process of the service.
    pub(crate) async fn second_replica(&self) -> ChangeLog {
        let database = Database::open(&self.url, options(self.clock.clone()))
            .await
            .unwrap();
        ChangeLog::new(database, self.bus.clone(), LogOwner::KeyRegistry)
    }

    /// Runs a statement past the log.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let done: Result<(), DatabaseError> = self
            .database()
            .write(|write| {
                Box::pin(async move {
                    sqlx::raw_sql(sql).execute(write.connection()).await?;
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }

    /// The names of a tailnet's things.
    pub(crate) async fn names(&self, tailnet: TailnetId) -> Vec<String> {
        sqlx::query_scalar("SELECT name FROM things WHERE tailnet_id = $1 ORDER BY name")
            .bind(i64::from(tailnet))
            .fetch_all(self.database().reader())
            .await
            .unwrap()
    }
}

pub(crate) fn options(clock: Arc<dyn Clock>) -> DatabaseOptions {
    DatabaseOptions::new("things", MIGRATIONS, clock)
}

pub(crate) fn system_options() -> DatabaseOptions {
    options(Arc::new(SystemClock))
}

pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

pub(crate) fn tailnet(id: u64) -> TailnetId {
    TailnetId::try_from(id).unwrap()
}

/// Inserts a thing, records its name, and audits it.
pub(crate) async fn add(log: &ChangeLog, tailnet: TailnetId, name: &str) -> Added {
    let name = name.to_owned();
    log.mutate(tailnet, "admin:test", move |mutation| {
        Box::pin(async move { insert(mutation, &name).await })
    })
    .await
    .map(|((), revision)| revision)
}

pub(crate) type Added = Result<Revision, DatabaseError>;

pub(crate) async fn insert(mutation: &mut Mutation, name: &str) -> Result<(), DatabaseError> {
    let id = next_id(mutation.connection()).await?;
    let tailnet = i64::from(mutation.tailnet());
    // Recorded first, so that a failure has something to undo.
    mutation.record_entry(&name.to_owned());
    mutation.record_audit("thing.add", name, &serde_json::json!({ "id": id }));
    sqlx::query("INSERT INTO things (id, tailnet_id, name) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(tailnet)
        .bind(name)
        .execute(mutation.connection())
        .await?;
    Ok(())
}
