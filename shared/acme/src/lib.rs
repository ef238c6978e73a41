//! A public certificate by ACME (RFC 8555): ordered, kept and renewed, once for all processes that share a directory.
//!
//! ```text
//!              one at a time, by a lock                        every process
//! keeper ─▶ order at the authority ─▶ certificate.pem ─▶ AcmeResolver ─▶ listener of TLS
//!    └────▶ answers to challenges  ─▶ .challenges/*   ─▶ AcmeResolver, or port 80
//! ```
//!
//! All that is known lies in the directory: the account, the certificate with its key, the answers to open challenges, and the
//! last attempt that failed. So it does not matter which process an authority reaches, nothing is ordered because a process
//! starts, and attempts that fail come further and further apart, whatever is restarted.

mod account;
mod advice;
mod attempt;
mod certificate;
mod challenge;
mod client;
mod config;
mod host;
mod http_listener;
mod keeper;
mod order;
mod resolver;
mod step;
mod store;

pub use config::{AcmeConfig, AcmePlan, AcmeSettingsError, UnfitAcmeSettings};
pub use keeper::{StartAcmeError, start};
pub use resolver::{AcmeResolver, TLS_ALPN};
pub use store::StoreError;
