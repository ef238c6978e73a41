//! The addresses of this server that identity providers and people are told, below the URL that browsers reach it by.

/// Where an OpenID Connect provider sends browsers back to.
pub const OIDC_CALLBACK: &str = "/login/callback";
/// The state that a browser brings there when a provider has ended its session.
pub const SIGNED_OUT: &str = "signed-out";
/// Where browsers post the answer of a SAML provider.
pub const SAML_CONSUMER: &str = "/saml/acs";

/// Returns where an OpenID Connect provider says that somebody has logged out there.
#[must_use]
pub fn back_channel_logout_path(connection_id: u64) -> String {
    format!("/logout/back-channel/{connection_id}")
}

/// Returns where a SAML provider finds what it is to know of this server, which is also what this server is called there.
#[must_use]
pub fn saml_metadata_path(connection_id: u64) -> String {
    format!("/saml/{connection_id}/metadata")
}

/// Returns the connection whose metadata is there.
#[must_use]
pub fn connection_of_metadata_path(path: &str) -> Option<u64> {
    let rest = path.strip_prefix("/saml/")?;
    let id = rest.strip_suffix("/metadata")?.parse().ok()?;
    // Each connection has one path.
    (saml_metadata_path(id) == path).then_some(id)
}

/// Returns where a person uses an invitation.
#[must_use]
pub fn invitation_path(secret: &str) -> String {
    format!("/invitation/{secret}")
}
