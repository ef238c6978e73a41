//! A private OpenID Connect provider: the package `oidc-provider` for Node.

use anyhow::Result;

use crate::node::NodeServer;

/// An OpenID Connect provider of its own. It lets in whoever says a name.
#[derive(Debug)]
pub struct OidcProviderServer(NodeServer);

impl OidcProviderServer {
    /// Starts a provider; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start() -> Result<Option<Self>> {
        let started = NodeServer::start("oidc-provider", "OIDC_PROVIDER_DIR", |_| Ok(()))?;
        Ok(started.map(Self))
    }

    /// Returns its issuer, which is its origin.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.0.origin()
    }
}
