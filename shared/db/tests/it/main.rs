//! One contract for both databases: every case runs on SQLite and on a real PostgreSQL.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

mod audit;
mod backup;
mod bench;
mod compaction;
mod epochs;
mod faults;
mod group_commit;
mod mutations;
mod open;
mod reads;
mod repeats;
mod runtime_end;
mod schema_levels;
mod soft;
mod support;
