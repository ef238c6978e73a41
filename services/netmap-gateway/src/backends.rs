//! The services behind the gateway.

use bowline_service_kit::GrpcChannel;

/// Ways to the services behind the gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Identity: logins and users.
    pub identity: GrpcChannel,
    /// Key registry: nodes and their keys.
    pub registry: GrpcChannel,
    /// Policy compiler: what the policy means.
    pub compiler: GrpcChannel,
}
