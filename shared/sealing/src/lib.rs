//! Seals secrets that must be read again, such as those of identity providers: the database alone does not give them away.
//!
//! The keys are a small text file outside of the database, the same for all replicas: one key a line. The first is active: it
//! seals. Each opens: the old ones what they have sealed, and one that is prepared what replicas seal that use it already.
//! `bowline sealing-key` makes and rolls the file.
//!
//! What a caller alone shall open is sealed with a key that is derived from a secret of the caller's instead.
//!
//! A sealed secret is bound to its place (table and row): moved to another row it does not open.

mod file;
mod keys;

pub use file::{
    activate_keys, create_keys, drop_prepared_keys, load_keys, prepare_keys, retire_keys,
};
pub use keys::{SealingError, SealingKeyState, SealingKeys, derive_bytes};
