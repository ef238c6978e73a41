//! What follows from a connection's own fields, for every service alike.

use crate::identity::v1::{Connection, connection::Provider};

impl Connection {
    /// Says whether people log in by passkeys of this server, without a provider.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.provider, Some(Provider::Local(_)))
    }
}
