//! What the crate says of real messages, of any bytes, and of logs that grow in any order.

mod client_vectors;
mod filling;
mod fuzzed;
mod growing;
mod refusals;
mod signing;
