//! Whom administrators let in: machines that wait for approval.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use super::key;
use crate::error::RegistryError;

/// Approves a machine, also one that was denied.
pub fn approve(node: &mut Node) {
    node.approved = true;
    node.denied = false;
}

/// Turns away a machine that waits. Its key ends with that, so that the client asks again and is told.
pub fn deny(node: &mut Node, now: DateTime<Utc>) -> Result<(), RegistryError> {
    if node.approved {
        let text = "the machine is approved already, and does not wait: disable or delete the node";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    node.denied = true;
    key::end_key(node, now);
    Ok(())
}

#[cfg(test)]
mod tests;
