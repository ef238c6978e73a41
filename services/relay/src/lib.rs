//! A small DERP and STUN relay for networks without another.
//!
//! Clients that can not reach each other directly send their packets, encrypted from end to end, to the relay, addressed
//! by node key. The protocol is the one unmodified Tailscale clients speak.
//!
//! ```text
//! TCP ── listener ── routes ──(upgrade)── session ── peers: node key → outbox ── session of the destination
//!         TLS, slots   probes       │ handshake, frame
//!                                   └ admission: asked at first, and again while connected
//! UDP ── reflector ── stun
//! ```
//!
//! What holds:
//! - A client is served under a node key only after it opened a box with it ([`Relay`] learns no other secret of it), and
//!   only while the [`NodeAdmission`] allows that key.
//! - A packet reaches nodes of its sender's tailnet alone: to the sender, a key of another tailnet is as absent as one
//!   that nobody holds.
//! - The newest connection of a key is its only one.
//! - A slow client costs its own packets: whatever exceeds its outbox is dropped, and nobody waits for it.
//! - Every length, number and time is bounded by [`Limits`] before anything is spent on it.
//! - Whoever has not been admitted makes room for newcomers; clients that are served stay.
//!
//! | metric `bowline_relay_…` | labels | counts |
//! |---|---|---|
//! | `connections` | | clients served now |
//! | `refused_total` | `reason` | connections turned away before they were served |
//! | `ended_total` | `reason` | connections that ended after they were served |
//! | `contested_total` | | connections that waited because another machine uses their key |
//! | `packets_total`, `bytes_total` | | packets put into an outbox, and their payload |
//! | `packets_dropped_total` | `reason`: `queue_full`, `not_here` | packets that reached nobody |
//! | `stun_total` | `outcome`: `answered`, `ignored` | datagrams |
//!
//! Not here: meshing with other relays, DERP over WebSocket, the DERP map, and Health frames: this relay has no
//! problem of a client to report, and clients of the Rust generation hang up on one.

mod admission;
mod frame;
mod handshake;
mod limits;
mod listener;
mod meters;
mod outbox;
mod peers;
mod quiet;
mod reflector;
mod relay;
mod routes;
mod session;
mod session_end;
mod stun;
mod wire;

pub use admission::{AdmissionVerdict, AdmittedNode, AllowAll, NodeAdmission};
pub use limits::Limits;
pub use relay::{Relay, RelayOptions, Sockets};
pub(crate) use relay::{RelaySlot, ServedNode};
