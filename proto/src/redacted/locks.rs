//! `Debug` of messages about tailnet lock.

use std::fmt;

use super::redact_bytes;
use crate::key_registry::v1::{BootstrapLockResponse, DisableLockRequest, FinishLockRequest};

impl fmt::Debug for BootstrapLockResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BootstrapLockResponse")
            .field("genesis", &self.genesis.len())
            .field(
                "disablement_secret",
                &redact_bytes(&self.disablement_secret),
            )
            .finish()
    }
}

impl fmt::Debug for DisableLockRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DisableLockRequest")
            .field("member", &self.member)
            .field(
                "disablement_secret",
                &redact_bytes(&self.disablement_secret),
            )
            .finish()
    }
}

impl fmt::Debug for FinishLockRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FinishLockRequest")
            .field("member", &self.member)
            .field("signatures", &self.signatures.len())
            .field(
                "support_disablement",
                &redact_bytes(&self.support_disablement),
            )
            .finish()
    }
}
