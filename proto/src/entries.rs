//! Entries of the logs, made of what changed.

use crate::identity::v1::{IdentityChange, identity_change};
use crate::key_registry::v1::{RegistryChange, registry_change};

impl From<identity_change::Change> for IdentityChange {
    fn from(change: identity_change::Change) -> Self {
        Self {
            change: Some(change),
            traceparent: None,
        }
    }
}

impl From<registry_change::Change> for RegistryChange {
    fn from(change: registry_change::Change) -> Self {
        Self {
            change: Some(change),
            traceparent: None,
        }
    }
}
