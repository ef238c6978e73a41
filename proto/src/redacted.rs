//! Messages that carry a secret say in `Debug` whether it is there, and nothing more.

use std::fmt;

use crate::{
    identity::v1::{
        AuthenticateTokenRequest, BeginLoginAttemptResponse, CreateApiKeyResponse,
        CreateConnectionRequest, CreateOAuthClientResponse, FinishOidcLoginRequest, FormField,
        IssueAccessTokenRequest, IssueAccessTokenResponse, TakeSamlResponseRequest,
        UpdateConnectionRequest,
    },
    key_registry::v1::{CreatePreAuthKeyResponse, RegisterRequest},
};

mod locks;
mod scim;
mod sessions;

/// Writes `Debug` of messages: `Message { fields that are shown; fields that are secret }`.
macro_rules! redact_secrets {
    ($($message:ident { $($shown:ident),*; $($secret:ident),* })*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($message))
                    $(.field(stringify!($shown), &self.$shown))*
                    $(.field(stringify!($secret), &redact(&self.$secret)))*
                    .finish()
            }
        }
    )*};
}
use redact_secrets;

/// What stands for a secret.
const REDACTED: &str = "[redacted]";

fn redact(secret: &str) -> &'static str {
    redact_bytes(secret.as_bytes())
}

fn redact_bytes(secret: &[u8]) -> &'static str {
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

impl fmt::Debug for CreateConnectionRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CreateConnectionRequest")
            .field("connection", &self.connection)
            .field("client_secret", &redact(&self.client_secret))
            .finish()
    }
}

impl fmt::Debug for UpdateConnectionRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UpdateConnectionRequest")
            .field("connection", &self.connection)
            .field("update_mask", &self.update_mask)
            .field("client_secret", &redact(&self.client_secret))
            .finish()
    }
}

impl fmt::Debug for BeginLoginAttemptResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BeginLoginAttemptResponse")
            .field("attempt_id", &self.attempt_id)
            .field("redirect_url", &redact(&self.redirect_url))
            .field("post_fields", &self.post_fields)
            .finish()
    }
}

impl fmt::Debug for FormField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FormField")
            .field("name", &self.name)
            .field("value", &redact(&self.value))
            .finish()
    }
}

impl fmt::Debug for TakeSamlResponseRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TakeSamlResponseRequest")
            .field("relay_state", &redact(&self.relay_state))
            .field("saml_response", &redact(&self.saml_response))
            .field("origin", &self.origin)
            .field("description", &self.description)
            .finish()
    }
}

impl fmt::Debug for FinishOidcLoginRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FinishOidcLoginRequest")
            .field("state", &redact(&self.state))
            .field("code", &redact(&self.code))
            .field("issuer", &self.issuer)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AuthenticateTokenRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthenticateTokenRequest")
            .field("token", &redact(&self.token))
            .finish()
    }
}

impl fmt::Debug for CreateApiKeyResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CreateApiKeyResponse")
            .field("key", &self.key)
            .field("secret", &redact(&self.secret))
            .finish()
    }
}

impl fmt::Debug for CreateOAuthClientResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CreateOAuthClientResponse")
            .field("client", &self.client)
            .field("secret", &redact(&self.secret))
            .finish()
    }
}

impl fmt::Debug for IssueAccessTokenRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssueAccessTokenRequest")
            .field("client_secret", &redact(&self.client_secret))
            .field("scopes", &self.scopes)
            .field("tags", &self.tags)
            .finish()
    }
}

impl fmt::Debug for IssueAccessTokenResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssueAccessTokenResponse")
            .field("access_token", &redact(&self.access_token))
            .field("expires_in", &self.expires_in)
            .field("scopes", &self.scopes)
            .finish()
    }
}

#[cfg(test)]
mod tests;
