//! Seals secrets that must be read again, such as those of identity providers: the database alone does not give them away.
//!
//! The keys are a small text file outside of the database, the same for all replicas: one key a line, the newest first. The
//! newest seals, each opens. `bowline sealing-key` makes and rolls the file.
//!
//! A sealed secret is bound to its place (table and row): moved to another row it does not open.

mod file;
mod keys;

pub use file::{create_keys, load_keys, retire_keys, roll_keys};
pub use keys::{SealingError, SealingKeys};
