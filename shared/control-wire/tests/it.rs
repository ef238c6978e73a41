//! What clients send, recorded and mutated, and the examples of the README.

#[path = "it/examples.rs"]
mod examples;
#[path = "it/fuzzed.rs"]
mod fuzzed;
#[path = "it/recorded.rs"]
mod recorded;
