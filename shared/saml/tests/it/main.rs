//! What is accepted of an identity provider's answers.

mod fuzzed;
