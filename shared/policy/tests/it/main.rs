//! The policy language as it is described, and whatever else comes as a policy.

mod fuzzed;
mod readme;
