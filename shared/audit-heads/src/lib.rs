//! Audit trails that nobody can shorten or rewrite unseen, whoever has the database.
//!
//! ```text
//! owner: head of each trail ─ AuditKey signs ─▶ HeadExporter ─▶ directory, webhook, S3   (a place that the server can not rewrite)
//!                                                                   │
//! bowline audit verify --heads FILE:   exported heads + the trail as it is now ─▶ TrailCheck ─▶ whole, or the first wrong entry
//! ```
//!
//! The chain of hashes alone finds what was changed in its midst. Whoever can write the database can also compute all hashes
//! again, or take away the newest entries: that is found only by a head that was kept elsewhere.

mod check;
mod destination;
mod exporter;
mod head;
mod key;
mod s3;
mod settings;
mod store;

pub use check::{CheckedTrail, EpochEntry, TrailBreak, TrailCheck};
pub use destination::HeadExportError;
pub use exporter::HeadExporter;
pub use head::{HeadError, SignedHead};
pub use key::{AuditKey, AuditKeyError, AuditPublicKey, create_audit_key};
pub use settings::AuditSettingsError;
