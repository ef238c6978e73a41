//! The relay over real sockets, against a client written from the protocol page.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "also what the tests share may panic"
)]

#[path = "it/admission.rs"]
mod admission;
#[path = "it/client.rs"]
mod client;
#[path = "it/http.rs"]
mod http;
#[path = "it/lifetime.rs"]
mod lifetime;
#[path = "it/limits.rs"]
mod limits;
#[path = "it/packets.rs"]
mod packets;
#[path = "it/server.rs"]
mod server;
#[path = "it/stun.rs"]
mod stun;
