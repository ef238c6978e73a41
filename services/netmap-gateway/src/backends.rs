//! The services behind the gateway.

use bowline_service_kit::GrpcChannel;

/// Channels to the services behind the gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Identity: logins and users.
    pub identity: GrpcChannel,
    /// Identity on connections of its own, for calls that stay open for minutes while a person decides. Anybody can
    /// cause such calls, so they must not delay others.
    pub identity_for_waits: GrpcChannel,
    /// Key registry: nodes and their keys.
    pub registry: GrpcChannel,
    /// Policy compiler: what the policy means.
    pub compiler: GrpcChannel,
}
