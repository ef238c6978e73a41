//! The gRPC contracts between Bowline's services, compiled from the `.proto` files beside this crate.
//!
//! | package | served by | called by |
//! |---|---|---|
//! | `bowline.identity.v1` | identity | administrators, key-registry, policy-compiler, gateways |
//! | `bowline.key_registry.v1` | key-registry | administrators, gateways, policy-compiler, relays |
//! | `bowline.policy.v1` | policy-compiler | administrators, key-registry, gateways |
//!
//! Who may call an RPC is declared beside it and compiled into [`access::rules`].

#![expect(
    missing_docs,
    reason = "generated code carries the comments of the .proto files"
)]
#![expect(clippy::all, clippy::pedantic, reason = "generated code")]

pub mod access;
pub mod addresses;
mod connection;
mod entries;
mod judgement;
mod node;
mod redacted;
mod tailnet;
pub mod time;
mod user;

pub use node::JudgedFacts;

/// What each owner of hard state answers about its audit trail.
pub mod audit {
    pub mod v1 {
        tonic::include_proto!("bowline.audit.v1");
    }
}

/// How owners of hard state tell others what changed.
pub mod changes {
    pub mod v1 {
        tonic::include_proto!("bowline.changes.v1");
    }
}

/// What each owner of hard state knows of the deployment.
pub mod deployment {
    pub mod v1 {
        tonic::include_proto!("bowline.deployment.v1");
    }
}

/// Who is behind a login.
pub mod identity {
    pub mod v1 {
        tonic::include_proto!("bowline.identity.v1");
    }
}

/// Which keys exist, whom they belong to, until when.
pub mod key_registry {
    pub mod v1 {
        tonic::include_proto!("bowline.key_registry.v1");
    }
}

/// Policy documents and what they mean for each node.
pub mod policy {
    pub mod v1 {
        tonic::include_proto!("bowline.policy.v1");
    }
}

/// All contracts as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
