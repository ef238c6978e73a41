//! Real, unmodified clients against Bowline, each in its own network namespace.
//!
//! ```text
//! switch (a bridge) ─┬─ server: bowline      10.77.0.1
//!                    ├─ client 1: tailscaled 10.77.0.11
//!                    └─ client 2: …
//! ```
//!
//! No packet leaves the namespaces: the only way out of a client's is to the server's. Clients are built by
//! `tests/run` and looked for in `$BOWLINE_PEERS_DIR`. Everything is ended and removed when it is dropped.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::panic,
    reason = "this crate is only for tests"
)]

mod balancer;
mod client;
mod compose_stack;
mod docker;
mod frontend;
mod headscale;
mod network;
mod next_release;
mod process;
mod rust_client;
mod samples;
mod server;
mod sessions;
mod split;
mod wait;
mod web;

pub use balancer::Balancer;
pub use client::{Client, Device, LineStream, Release};
pub use compose_stack::ComposeStack;
pub use docker::{ContainerUsage, DockerEngine};
pub use frontend::Frontend;
pub use headscale::Headscale;
pub use network::{Host, TestNetwork, sweep};
pub use next_release::{UPGRADE_ORDER, find_next_release};
pub use process::Process;
pub use rust_client::RustClient;
pub use server::{Server, program};
pub use sessions::{Sessions, longest_gap};
pub use split::{Administrator, Split, inside};
pub use wait::wait_for;
pub use web::WebBrowser;
