//! Messages that carry a secret say in `Debug` whether it is there, and nothing more.

use std::fmt;

use crate::key_registry::v1::{CreatePreAuthKeyResponse, RegisterRequest};

/// What stands for a secret.
const REDACTED: &str = "[redacted]";

fn redact(secret: &str) -> &'static str {
    if secret.is_empty() { "" } else { REDACTED }
}

impl fmt::Debug for RegisterRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RegisterRequest")
            .field("machine_key", &self.machine_key)
            .field("node_key", &self.node_key)
            .field("old_node_key", &self.old_node_key)
            .field("pre_auth_key", &redact(&self.pre_auth_key))
            .field("login_id", &redact(&self.login_id))
            .field("hostname", &self.hostname)
            .field("source_address", &self.source_address)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CreatePreAuthKeyResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CreatePreAuthKeyResponse")
            .field("key", &self.key)
            .field("secret", &redact(&self.secret))
            .finish()
    }
}

#[cfg(test)]
mod tests;
