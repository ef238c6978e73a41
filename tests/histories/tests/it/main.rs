//! Random histories of keys against a reference model.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails where something is not as expected, and says what it found"
)]

mod histories;
mod keys_made_once;
mod one_off_keys;
mod planted;
