//! Reads what a headscale server keeps, and says what becomes of it here.
//!
//! ```text
//! config.yaml ─▶ HeadscaleConfig ─┬─▶ database ─▶ HeadscaleData ┐
//!                                 ├─▶ policy document           ├─▶ MovingPlan: users, nodes, DNS, policy, notes
//!                                 └─▶ DNS settings              ┘
//! ```
//!
//! Reading is IO and is done by [`HeadscaleConfig::load`], [`read_database`] and the caller; [`plan_move`] is pure. Writing the
//! plan is the caller's: it goes through the services, as every change does. Known are the schemas of headscale 0.26 to
//! 0.29, on SQLite and PostgreSQL.

mod config;
mod database;
mod plan;
mod policy;
mod rows;

pub use config::{HeadscaleConfig, PolicySource};
pub use database::read_database;
pub use plan::{MovingNode, MovingPlan, MovingPolicy, MovingUser, Note, plan_move};
pub use rows::{HeadscaleData, HeadscaleKey, HeadscaleNode, HeadscaleUser};

/// Why a headscale server's state can not be read.
#[derive(Debug, thiserror::Error)]
pub enum HeadscaleError {
    /// A file can not be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// A file has something else in it.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The database can not be read.
    #[error("headscale's database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row has something else in it than headscale writes.
    #[error("headscale's database: {table} {number}: {problem}")]
    Row {
        /// The table.
        table: &'static str,
        /// The row's number.
        number: i64,
        /// What is wrong.
        problem: String,
    },
    /// It is no database of a known headscale.
    #[error("headscale's database: {0}")]
    Schema(String),
}
