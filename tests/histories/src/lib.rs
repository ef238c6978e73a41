//! Random histories of keys, driven against the real services and a small reference model.
//!
//! ```text
//! history (drawn at random) ─▶ resolve: which calls these are here ─▶ run: two replicas of the registry on one database
//!                                                                       │ answers, nodes, pre-auth keys, what a gateway would tell
//!                                          model: what these have to be ┴─▶ compare ─▶ shrink what fails
//! ```
//!
//! A history is what happens to three machines of one tailnet: they register, rotate, log out and come back; administrators
//! approve, deny, disable, expire, tag, rename and delete; users are suspended; keys are made and revoked. Things go wrong on
//! the way: a call is made twice, at both replicas at once, or beside another; its caller goes away in the middle and asks the
//! other replica; a replica crashes, dropped where it is, and comes back. Many histories share a database, a tailnet each, and go
//! through their rounds together, so that the test's clock moves for all at once. Ephemeral nodes that go offline are not in here:
//! what is deleted after a time without signs of life is tried in `sweeper/tests.rs` of the key registry.
//!
//! Start reading at [`KeyModel`], then at `run`. A failure prints the shortest history that still fails, and what repeats it:
//! `TEST_HISTORY=SEED:INDEX cargo test -p bowline-histories histories`. What needs others beside it, such as a crash in the middle
//! of a call, is repeated with its whole batch, `TEST_HISTORY=SEED`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where something is not as expected"
)]

mod batch;
mod call;
mod compare;
mod counts;
mod gateway_copy;
mod history;
mod lock;
mod model;
mod node_calls;
mod observed;
mod planted;
mod replica;
mod resolve;
mod run;
mod search;
mod services;
mod shrink;
mod tailnet;

pub use call::{KeyAnswer, KeyCall, NewKey, PresentedCredential, RegisterCall};
pub use counts::AnswerCounts;
pub use model::{KeyModel, TailnetRules};
pub use observed::ObservedTailnet;
pub use planted::PlantedBug;
pub use search::{DatabaseKind, HistorySearch, SearchOutcome};
pub use services::TestReplicas;
pub use shrink::FailingHistory;
pub use tailnet::{CallPath, TestedTailnet};
