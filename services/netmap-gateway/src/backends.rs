//! The services behind the gateway.

use bowline_service_kit::GrpcChannel;

/// Ways to the services behind the gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Identity: logins and users.
    pub identity: GrpcChannel,
    /// Identity once more, by connections of their own: questions that are held for minutes while a person decides, and
    /// that anybody can cause, hold up no others.
    pub waits: GrpcChannel,
    /// Key registry: nodes and their keys.
    pub registry: GrpcChannel,
    /// Policy compiler: what the policy means.
    pub compiler: GrpcChannel,
}
