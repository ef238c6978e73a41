//! A valid policy: what the document says, with every name resolved.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    DocumentContext,
    attribute::ConfiguredAttribute,
    document,
    port::Ports,
    posture::Posture,
    problem::Problem,
    section::{DocumentReader, access_tests::AccessTest, ssh_tests::SshTest},
    selector::Selector,
};

/// A selector that selects only nodes which meet one of some postures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PosturedSelector {
    /// Who or where, before postures are looked at.
    pub selector: Selector,
    /// The names of the postures of which a node must meet one; empty for no condition.
    pub postures: Vec<String>,
}

impl From<Selector> for PosturedSelector {
    fn from(selector: Selector) -> Self {
        Self {
            selector,
            postures: Vec::new(),
        }
    }
}

/// A protocol with its ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProtocolPorts {
    /// IP protocol; `None` for the default set: TCP, UDP, ICMP.
    pub protocol: Option<u8>,
    /// Which ports.
    pub ports: Vec<Ports>,
}

/// A capability with its values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Capability {
    /// The name.
    pub name: String,
    /// Each value as JSON text; `None` is sent as null.
    pub values: Option<Vec<String>>,
}

/// How a rule names its destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestinationKind {
    /// By selectors.
    #[default]
    Named,
    /// The devices of the source's own user (`autogroup:self`).
    Own,
    /// The reverse of `Own`: from all devices of a user to those of them that the sources select.
    OwnReversed,
}

/// One rule: sources may reach destinations. An ACL with several destinations is several rules (policy section 7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRule {
    /// Who; the rules of one ACL share it.
    pub sources: Arc<BTreeSet<PosturedSelector>>,
    /// Where; empty unless `destination_kind` is `Named`.
    pub destinations: Vec<PosturedSelector>,
    /// How the destinations are named.
    pub destination_kind: DestinationKind,
    /// The protocols and ports that are allowed there.
    pub services: Vec<ProtocolPorts>,
    /// The application capabilities that are granted there.
    pub capabilities: Vec<Capability>,
    /// The tags of the routers it goes through; empty for a rule without `via`.
    pub via: BTreeSet<String>,
    /// Whether the destinations cover the whole internet.
    pub covers_internet: bool,
    /// The line of the document it is on; zero for the default policy.
    pub line: u32,
}

/// One SSH rule (policy section 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshPolicyRule {
    /// Whether the connection waits for a check.
    pub check: bool,
    /// Who.
    pub sources: BTreeSet<PosturedSelector>,
    /// Where.
    pub destinations: BTreeSet<Selector>,
    /// Whether the source user's own devices are destinations too.
    pub to_own: bool,
    /// Local accounts by name.
    pub users: BTreeSet<String>,
    /// Whether any local account but root is meant.
    pub nonroot: bool,
    /// Domains whose users may use the account named like them.
    pub localparts: BTreeSet<String>,
    /// How long a check holds, in seconds; zero asks at every connection.
    pub check_period: u64,
    /// Patterns of environment variables to accept; `None` when the rule does not say.
    pub accept_env: Option<Vec<String>>,
    /// Tags of the nodes that record sessions.
    pub recorders: BTreeSet<String>,
    /// Whether a session that can not be recorded is refused.
    pub enforce_recorder: bool,
    /// The line of the document it is on.
    pub line: u32,
}

/// An entry of `nodeAttrs`: capabilities for nodes (policy section 17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAttribute {
    /// Which nodes.
    pub targets: BTreeSet<Selector>,
    /// What they get.
    pub capabilities: Vec<Capability>,
    /// The pools their IPv4 addresses come from.
    pub pools: Vec<IpNet>,
}

/// Whose routes are approved without an administrator (policy section 15).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteApprovers {
    /// Approvers of subnet routes, by prefix.
    pub routes: BTreeMap<IpNet, Vec<Selector>>,
    /// Approvers of exit routes.
    pub exit_nodes: Vec<Selector>,
}

/// Switches of the whole tailnet (policy section 17.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailnetSwitches {
    /// Whether no node has an IPv4 address.
    pub disable_ipv4: bool,
    /// Whether macOS nodes route the whole CGNAT block; `None` leaves it to them.
    pub one_cgnat_route: Option<bool>,
    /// Whether nodes take a random WireGuard port.
    pub randomize_client_port: bool,
}

/// A valid policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Grants in order, then ACLs in order.
    pub(crate) rules: Vec<Arc<AccessRule>>,
    /// Members of each group that the document defines, by login name.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    /// The groups it names and does not define: those of the tailnet.
    pub(crate) synced_groups: BTreeSet<String>,
    /// Who may use each tag.
    pub(crate) tag_owners: BTreeMap<String, Vec<Selector>>,
    pub(crate) ssh: Vec<SshPolicyRule>,
    pub(crate) attributes: Vec<NodeAttribute>,
    pub(crate) approvers: RouteApprovers,
    pub(crate) postures: BTreeMap<String, Posture>,
    /// What it says of custom attributes, by name.
    pub(crate) configured_attributes: BTreeMap<String, ConfiguredAttribute>,
    pub(crate) switches: TailnetSwitches,
    pub(crate) tests: Vec<AccessTest>,
    pub(crate) ssh_tests: Vec<SshTest>,
    /// Hosts, for tests that name them.
    pub(crate) hosts: BTreeMap<String, bowline_ip_set::IpRange>,
    /// IP sets, for tests that name them; empty without tests.
    pub(crate) ip_sets: BTreeMap<String, Vec<bowline_ip_set::IpRange>>,
    /// Relays beside or in place of the server's own: JSON in the clients' spelling.
    pub(crate) derp_map: Option<String>,
    /// What is right but does not do what it says.
    pub(crate) warnings: Vec<Problem>,
}

impl Policy {
    /// Returns the policy of a tailnet without a document: everybody reaches everything.
    #[must_use]
    pub fn allow_all() -> Self {
        Self {
            rules: vec![Arc::new(AccessRule::allow_all())],
            ..Self::default()
        }
    }

    /// Reads a document. One without content means [`Policy::allow_all`].
    ///
    /// # Errors
    ///
    /// What is wrong with it, at most fifty mistakes.
    pub fn parse(text: &str, context: &DocumentContext) -> Result<Self, Vec<Problem>> {
        let read = document::parse(text, |reader, object| {
            DocumentReader::new(reader, context).read_document(object)
        });
        match read {
            Ok(None) => Ok(Self::allow_all()),
            Ok(Some(result)) => result,
            Err(problem) => Err(vec![problem]),
        }
    }

    /// Returns the groups that the document defines, with `group:`: one of the tailnet with such a name does not count.
    pub fn defined_groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Returns what the document says of a custom attribute.
    #[must_use]
    pub fn configured_attribute(&self, name: &str) -> Option<ConfiguredAttribute> {
        self.configured_attributes.get(name).copied()
    }

    /// Returns what is right but does not do what it says, at most fifty warnings.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl AccessRule {
    /// Returns the rule that lets everybody reach everything.
    pub(crate) fn allow_all() -> Self {
        Self {
            sources: Arc::new(BTreeSet::from([Selector::Any.into()])),
            destinations: vec![Selector::Any.into()],
            services: vec![ProtocolPorts {
                protocol: None,
                ports: vec![Ports::ALL],
            }],
            covers_internet: true,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
