//! What is sealed opens, and nothing else.

mod fuzzed;
