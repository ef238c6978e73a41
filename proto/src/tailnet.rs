//! What follows from a tailnet's own fields, for every service alike.

use std::borrow::Cow;

use crate::identity::v1::{DnsSettings, Tailnet};

impl Tailnet {
    /// Returns the DNS settings. One that has none has nothing set: no MagicDNS, no nameservers, no records.
    #[must_use]
    pub fn dns_settings(&self) -> Cow<'_, DnsSettings> {
        match &self.dns {
            Some(settings) => Cow::Borrowed(settings),
            None => Cow::Owned(DnsSettings::default()),
        }
    }
}
