//! State that earlier versions left, opened by this one.
//!
//! ```text
//! recipe ─▶ a deployment of the version that is checked out ─▶ fixtures/VERSION   (cargo run -p bowline-upgrade)
//! fixtures/VERSION ─▶ a copy ─▶ a deployment of today ─▶ the same nodes, users, keys and policies   (the tests)
//! ```
//!
//! A fixture is a state directory of `bowline serve`, the dump of a PostgreSQL database of separate services, and what
//! both held, as JSON. Its devices' keys are in it, so that they come back without a registration.

mod device;
mod fixture;
mod recipe;
mod record;

pub use device::{Device, FORGED_REQUEST_ID, Registered};
pub use fixture::Fixture;
pub use recipe::make;
pub use record::{NodeRecord, Record};
