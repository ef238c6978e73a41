//! The RPCs: convert, call, convert back.

mod identity;
mod logins;
mod tailnets;
mod users;

pub use identity::IdentityRpcs;
