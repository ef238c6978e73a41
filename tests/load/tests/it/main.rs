//! The load in its short form: a hundred nodes, every phase, each view checked. How long anything takes is not asserted.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

mod short_form;
