//! The gateway as clients and its own process meet it.

mod fuzzed;
mod process;
