//! The RPCs: convert, call, convert back.

mod follow;
mod logins;
mod tailnets;
mod users;
