//! What clients send, recorded and mutated, and the examples of the README.

mod examples;
mod fuzzed;
mod recorded;
