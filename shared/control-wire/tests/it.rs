//! What clients send: recorded, and mutated.

#[path = "it/fuzzed.rs"]
mod fuzzed;
#[path = "it/recorded.rs"]
mod recorded;
