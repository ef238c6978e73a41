//! Asks others over HTTP: a map of relays, an identity provider.
//!
//! Whoever answers is not trusted to answer well. An answer has a longest body and a deadline, a redirect is followed on
//! its own origin only, and a client that is told so connects to public addresses only, whatever a name resolves to.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start servers of their own"
    )
)]

mod client;
mod destinations;
mod error;

pub use client::{AnswerLimits, HttpClient};
pub use destinations::Destinations;
pub use error::HttpError;
