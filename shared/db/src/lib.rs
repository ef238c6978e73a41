//! One database interface over PostgreSQL and SQLite: migrations, group commit, change log, audit.
//!
//! ```text
//! mutate ─▶ lane (one per tailnet; one for all on SQLite) ─▶ batch: lock head, run each in a savepoint,
//!           append change_log and audit, commit once ─▶ answer everybody ─▶ hint on the bus
//! ```
//!
//! Each service owns one PostgreSQL schema or one SQLite file. One SQL text serves both: placeholders are `$1`,
//! columns are `BIGINT`, `TEXT` and `BYTEA`/`BLOB`, times are microseconds since 1970 in a `BIGINT`
//! ([`to_micros`], [`from_micros`]), booleans are 0 or 1 in a `BIGINT`. Queries are plain `sqlx` on an
//! `AnyConnection`. A `SUM` or an `EXISTS` is cast to `BIGINT` explicitly: PostgreSQL gives other types.
//!
//! What holds:
//! * the revision of a tailnet grows by one for each entry, without holes, in commit order; only where an epoch begins, because
//!   the database went back, it jumps;
//! * an answered mutation is committed, its audit rows and change entries with it;
//! * a mutation that fails changes nothing, and does not touch those which share its commit;
//! * a call with an idempotency key is done once, and answered alike each time (`repeats`).
//!
//! The tables `heads`, `change_log`, `audit`, `ids`, `migrations`, `schema_levels`, `processes`, `epochs` and `kept_answers` of each
//! schema belong to this crate, `audit_exports` and `audit_export_turns` to `bowline-audit-heads`. What an entry means, and who may
//! read which, is not here.

mod audit;
mod audit_rpcs;
mod backup;
mod change_log;
mod database;
mod deployment_rpcs;
mod epochs;
mod error;
mod followers;
mod ids;
mod migration;
mod repeats;
mod schema_levels;
mod statement_group;
mod statements;
mod time;
mod transaction;

pub use audit::{AuditEntry, AuditVerdict, ORIGIN as AUDIT_ORIGIN};
pub use audit_rpcs::AuditRpcs;
pub use backup::{
    BackupError, BackupHeader, BackupReader, BackupSource, BackupWriter, RestoreTarget, UndoneEntry,
};
pub use change_log::{ChangeLog, Changes, Head, Mutation, SoftBatch};
pub use database::{Database, DatabaseOptions, SqlDialect, TimeSource};
pub use deployment_rpcs::DeploymentRpcs;
pub use epochs::BegunEpoch;
pub use error::{DatabaseError, DatabaseOpenError};
pub use followers::ChangePage;
pub use ids::{keep_id, next_id, next_id_sql};
pub use migration::{Migration, Migrations};
pub use repeats::{AnswerKeeper, RepeatableService, take_kept_answer};
pub use schema_levels::LiveProcess;
pub use statement_group::StatementGroup;
pub use time::{from_micros, to_micros};
pub use transaction::{ReadTransaction, WriteTransaction};
