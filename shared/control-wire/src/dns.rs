//! DNS settings (protocol section 8.6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::is_default;

/// DNS settings of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DnsConfig {
    /// Global resolvers; present: override those of the operating system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<Resolver>,
    /// Resolvers by suffix; an empty list: answered by the client itself.
    pub routes: BTreeMap<String, Vec<Resolver>>,
    /// Used when split DNS needs a default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback_resolvers: Vec<Resolver>,
    /// Search domains.
    pub domains: Vec<String>,
    /// MagicDNS.
    pub proxied: bool,
    /// Resolvers of clients 9 to 13.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Additional records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_records: Vec<DnsRecord>,
}

/// One resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resolver {
    /// Address or https URL.
    pub addr: String,
    /// Whether it is used while an exit node is.
    #[serde(skip_serializing_if = "is_default")]
    pub use_with_exit_node: bool,
}

/// An additional record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DnsRecord {
    /// Name.
    pub name: String,
    /// `A` or `AAAA`; empty: by the value.
    #[serde(rename = "Type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Address.
    pub value: String,
}
