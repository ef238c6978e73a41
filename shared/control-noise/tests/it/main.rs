//! What the handshake and its records let through.

mod fuzzed;
