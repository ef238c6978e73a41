//! The only service clients reach: transports, registration and map sessions.
//!
//! ```text
//! listener ─▶ http (the public addresses) ─▶ transport: noise │ nacl ─▶ machine: register │ map
//!                                                                          │          │
//!                                              key-registry, identity ◀────┘          ▼
//! identity, registry, compiler ─▶ tailnet (views, what changed) ─▶ netmap (full, delta) ─▶ session ─▶ frames
//! ```
//!
//! It keeps nothing durable. What it never does: send an empty netmap because something failed, a delta before the
//! first full netmap, or a fact together with a class that was not computed from it.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

mod admin;
mod backends;
mod config;
mod control_keys;
mod derp_map;
mod gateway;
mod http;
mod lease;
mod listener;
mod machine;
mod pace;
mod reporter;
mod session;
mod start;
mod tailnet;
mod tls;
mod transport;
mod turns;
mod woken;

pub use admin::PlainAdminAddress;
pub use backends::Backends;
/// The map of relays that [`Dependencies`] bring.
pub use bowline_control_wire::{DerpMap, DerpNode, DerpRegion};
pub use config::{GatewayConfig, SettingsError, UnfitSettings};
pub use control_keys::ReadKeysError;
pub use derp_map::DerpMapError;
pub use gateway::Gateway;
pub use start::{Dependencies, StartError, Started, start};
