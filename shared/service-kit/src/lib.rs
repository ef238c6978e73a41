//! What every service process needs: configuration, telemetry, gRPC server and clients, drain.
//!
//! ```text
//! main: config::load ─▶ telemetry::init ─▶ build the service ─▶ Listeners ─▶ tasks.spawn_critical(serve) ─▶ tasks.run
//!
//! caller's client ─▶ GrpcChannel ─┬─ in process ──────────────┬─▶ AccessRules (who may call what) ─▶ TraceLayer ─▶ MeterLayer
//!                                 └─ TLS, client certificate ─┘     leaves a Caller in the request     RequestId     ─▶ handlers
//! ```
//!
//! What holds: no RPC runs without a proven [`Caller`] that its declaration names; nothing is spawned outside
//! [`Tasks`] in a service's own code; a secret of the configuration is never printed. What a service does is not here.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

pub mod access;
pub mod certificates;
pub mod config;
pub mod connection_slots;
pub mod descriptors;
pub mod networks;
pub mod process;
pub mod rate_limit;
pub mod relay_permits;
pub mod retry_window;
pub mod source_networks;
pub mod telemetry;
pub mod trace;
mod versions;

mod audit_config;
mod caller;
mod channel;
mod error_text;
mod file_watch;
mod health;
mod key_command;
mod listening;
mod meter;
mod server;
mod shutdown;
mod status;
mod supervisor;
mod tasks;
mod tokens;

pub use access::AccessRules;
pub use audit_config::{AuditConfig, AuditKeySourceError, AuditStoreConfig};
pub use caller::{Caller, ServiceName, TokenCaller, UnknownService};
pub use certificates::{
    Authority, CertificateEnds, CertificateFiles, CertificateViewer, Certificates, IssueError,
    RenewError, note_certificate, note_ordered_certificate,
};
pub use channel::{
    AdminAddressError, DeferredServices, GrpcChannel, IdempotencyKeys, InvalidAddress,
    trusted_authorities,
};
pub use error_text::error_text;
pub use file_watch::FileWatch;
pub use health::ask_health;
pub use key_command::{KeyCommandError, run_key_command};
pub use listening::{listen_tcp, listen_unix};
pub use server::{ListenError, Listeners, ServeError, introspection, serve};
pub use shutdown::Shutdown;
pub use status::{CALL_DENIED, Code, ServiceError, retry_after, status_reason, to_status};
pub use tasks::{TaskError, Tasks};
pub use tokens::TokenVerifier;
pub use trace::{RequestId, TraceParent, TracedWork, WorkSpan};
pub use versions::{CallerVersions, ProcessVersion, SCHEMA_LEVEL};

/// Makes aws-lc-rs the process's provider of TLS cryptography; the first thing in every `main` and TLS test.
pub fn install_crypto_provider() {
    // A second call finds the same provider there.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
