//! A change log of a test's own, and what exports its heads.

use std::{path::PathBuf, sync::Arc};

use bowline_audit_heads::{
    CheckedTrail, HeadExporter, SignedHead, TrailBreak, TrailCheck, create_audit_key,
};
use bowline_bus::{Bus, LogOwner};
use bowline_clock::SystemClock;
use bowline_db::{AuditEntry, ChangeLog, Database, DatabaseError, DatabaseOptions};
use bowline_ids::TailnetId;
use bowline_proto::audit::v1::ListAuditRequest;
use bowline_service_kit::{AuditConfig, ServiceName, config::Secret};
use bowline_test_servers::TestDatabase;
use tempfile::TempDir;

pub(crate) struct TestTrails {
    pub(crate) log: ChangeLog,
    pub(crate) place: TempDir,
    _database: TestDatabase,
}

pub(crate) fn tailnet(id: u64) -> TailnetId {
    TailnetId::try_from(id).unwrap()
}

impl TestTrails {
    pub(crate) async fn open(database: TestDatabase) -> Self {
        let options = DatabaseOptions::new("things", &[], Arc::new(SystemClock));
        let opened = Database::open(&database.url("test.db"), options).await;
        let log = ChangeLog::new(opened.unwrap(), Bus::in_process(), LogOwner::Identity);
        let place = tempfile::tempdir().unwrap();
        create_audit_key(&place.path().join("audit.key")).unwrap();
        Self {
            log,
            place,
            _database: database,
        }
    }

    /// Adds entries to a tailnet's trail.
    pub(crate) async fn add(&self, id: u64, number: usize) {
        self.add_action(id, number, "thing.add").await;
    }

    pub(crate) async fn add_action(&self, id: u64, number: usize, action: &'static str) {
        for _ in 0..number {
            let added = self.log.mutate(tailnet(id), "admin:test", move |mutation| {
                Box::pin(async move {
                    mutation.record_audit(action, "a", &Default::default());
                    Ok::<_, DatabaseError>(())
                })
            });
            added.await.unwrap();
        }
    }

    /// Runs statements past the log, as whoever has the database can.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        let done: Result<(), DatabaseError> = self
            .log
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

    pub(crate) fn settings(&self) -> AuditConfig {
        let key = std::fs::read_to_string(self.place.path().join("audit.key")).unwrap();
        AuditConfig {
            signing_key: Some(Secret::new(key)),
            ..AuditConfig::default()
        }
    }

    pub(crate) fn exporter(&self, settings: &AuditConfig) -> HeadExporter {
        let database = self.log.database().clone();
        let exporter = HeadExporter::new(database, ServiceName::Identity, settings);
        exporter.unwrap().unwrap()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.place.path().join("audit-heads-identity.jsonl")
    }

    /// Exports to a file what is new.
    pub(crate) async fn export(&self) {
        let settings = AuditConfig {
            directory: Some(self.place.path().to_owned()),
            ..self.settings()
        };
        // Those of all heads stay: a day is not over.
        self.execute("DELETE FROM audit_export_turns WHERE destination NOT LIKE '%/all'")
            .await;
        assert_eq!(self.exporter(&settings).export_due().await, 1);
    }

    /// Returns the heads in the file.
    pub(crate) fn heads(&self) -> Vec<SignedHead> {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty());
        lines
            .filter_map(|line| Some(SignedHead::parse(line).ok()?.0))
            .collect()
    }

    /// Follows a tailnet's trail, and compares it with the heads in the file.
    pub(crate) async fn check(&self, id: u64) -> Result<(u64, u64), TrailBreak> {
        let checked = self.check_accepting(id, &[]).await?;
        Ok((checked.entries, checked.confirmed))
    }

    /// The same, with breaks that are meant.
    pub(crate) async fn check_accepting(
        &self,
        id: u64,
        accepted: &[[u8; 32]],
    ) -> Result<CheckedTrail, TrailBreak> {
        let mut heads = self.heads();
        heads.retain(|head| head.tailnet_id == id);
        let mut check = TrailCheck::new(tailnet(id), &heads, &accepted.iter().copied().collect());
        let request = ListAuditRequest {
            oldest_first: true,
            ..ListAuditRequest::default()
        };
        let listed = self.log.list_audit(tailnet(id), &request).await.unwrap();
        for entry in listed.entries {
            check.take_entry(&AuditEntry::try_from(entry).unwrap())?;
        }
        check.finish()
    }

    /// Computes a tailnet's hashes again, and its head, as somebody does who hides what was changed.
    pub(crate) async fn compute_again(&self, id: u64) {
        let entries = self.log.audit_entries(tailnet(id), 0, 1000).await.unwrap();
        let mut hash = bowline_db::AUDIT_ORIGIN;
        let mut last = 0;
        for entry in entries {
            hash = entry.hash_after(&hash, tailnet(id));
            last = entry.sequence;
            let hash = self.literal(&hash);
            self.execute(&format!(
                "UPDATE audit SET hash = {hash} WHERE tailnet_id = {id} AND sequence = {last}"
            ))
            .await;
        }
        let hash = self.literal(&hash);
        self.execute(&format!(
            "UPDATE heads SET audit_sequence = {last}, audit_hash = {hash} WHERE tailnet_id = {id}"
        ))
        .await;
    }

    fn literal(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.log.database().dialect() {
            bowline_db::SqlDialect::Postgres => format!("'\\x{digits}'::bytea"),
            bowline_db::SqlDialect::Sqlite => format!("x'{digits}'"),
        }
    }
}
