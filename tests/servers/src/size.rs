//! How much a slow test does.

use std::env;

/// Returns the size of a test that has a short form: `full` where `tests/run --all` asks for it by `BOWLINE_FULL_SIZE`, else
/// `short`.
#[must_use]
pub fn choose_size(short: usize, full: usize) -> usize {
    match env::var_os("BOWLINE_FULL_SIZE") {
        Some(_) => full,
        None => short,
    }
}
