//! The gateway as clients and its own process meet it.

mod control_keys;
mod fuzzed;
mod process;
