//! The relay over real sockets, against a client written from the protocol page.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "also what the tests share may panic"
)]

mod admission;
mod client;
mod http;
mod lifetime;
mod limits;
mod packets;
mod server;
mod stun;
