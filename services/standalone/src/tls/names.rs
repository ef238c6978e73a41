//! The names a certificate is for.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

/// DNS names and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateNames {
    /// Names, in lower case.
    pub(super) hosts: BTreeSet<String>,
    /// Addresses.
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl CertificateNames {
    /// Returns the names of a server that clients reach at `host`: that, and those of its own machine.
    pub(super) fn of_host(host: &str) -> Self {
        let mut names = Self {
            hosts: BTreeSet::from(["localhost".to_owned()]),
            addresses: BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST)]),
        };
        match host.parse() {
            Ok(address) => names.addresses.insert(address),
            Err(_) => names.hosts.insert(host.to_ascii_lowercase()),
        };
        names
    }

    /// Returns all names of both.
    pub(super) fn merged_with(&self, others: Option<&Self>) -> Self {
        let mut names = self.clone();
        if let Some(others) = others {
            names.hosts.extend(others.hosts.iter().cloned());
            names.addresses.extend(&others.addresses);
        }
        names
    }

    /// Says whether all names of another are among these.
    pub(super) fn contains_all(&self, others: &Self) -> bool {
        others.hosts.is_subset(&self.hosts) && others.addresses.is_subset(&self.addresses)
    }
}
