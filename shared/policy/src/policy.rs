//! A valid policy: what the document says, with every name resolved.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    DocumentContext, document,
    port::Ports,
    posture::Posture,
    problem::Problem,
    section::{Reading, access_tests::AccessTest, ssh_tests::SshTest},
    selector::Selector,
};

/// A selector, for nodes that meet one of the postures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// Who or where.
    pub selector: Selector,
    /// Names of postures of which a node must meet one; empty: no condition.
    pub postures: Vec<String>,
}

impl From<Selector> for Party {
    fn from(selector: Selector) -> Self {
        Self {
            selector,
            postures: Vec::new(),
        }
    }
}

/// A protocol with its ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
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

/// How a rule's destinations are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// As they are written.
    #[default]
    Named,
    /// The devices of the source's own user (`autogroup:self`).
    Own,
    /// The reverse of `Own`: from all devices of a user to those that are sources.
    OwnReversed,
}

/// One statement: sources may reach destinations (policy section 7.2). An ACL with several destinations is
/// several statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Who; the statements of one ACL share it.
    pub sources: Arc<BTreeSet<Party>>,
    /// Where; empty unless `reach` is `Named`.
    pub destinations: Vec<Party>,
    /// How the destinations are meant.
    pub reach: Reach,
    /// Which protocols and ports there.
    pub services: Vec<Service>,
    /// Which application capabilities there.
    pub capabilities: Vec<Capability>,
    /// Only through routers with one of these tags; empty: through any.
    pub via: BTreeSet<String>,
    /// Whether the destinations cover the whole internet.
    pub covers_internet: bool,
    /// The line of the document it is on; zero for the default policy.
    pub line: u32,
}

/// One SSH rule (policy section 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshRule {
    /// Whether the connection waits for a check.
    pub check: bool,
    /// Who.
    pub sources: BTreeSet<Party>,
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
    /// How long a check holds, in seconds; zero: never.
    pub check_period: u64,
    /// Environment variables to accept, patterns; `None` when not said.
    pub accept_env: Option<Vec<String>>,
    /// Tags of the nodes that record sessions.
    pub recorders: BTreeSet<String>,
    /// Whether a session that can not be recorded is refused.
    pub enforce_recorder: bool,
    /// The line of the document it is on.
    pub line: u32,
}

/// Capabilities given to nodes (policy section 17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribute {
    /// Which nodes.
    pub targets: BTreeSet<Selector>,
    /// What they get.
    pub capabilities: Vec<Capability>,
    /// Where their IPv4 addresses come from.
    pub pools: Vec<IpNet>,
}

/// Who has routes approved without asking (policy section 15).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvers {
    /// By prefix.
    pub routes: BTreeMap<IpNet, Vec<Selector>>,
    /// Of exit nodes.
    pub exit_nodes: Vec<Selector>,
}

/// Switches of the whole tailnet (policy section 17.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
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
    pub(crate) rules: Vec<Arc<Rule>>,
    /// Members of each group that the document defines, by login name.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    /// The groups it names and does not define: users have them from outside.
    pub(crate) synced_groups: BTreeSet<String>,
    /// Who may use each tag.
    pub(crate) tag_owners: BTreeMap<String, Vec<Selector>>,
    pub(crate) ssh: Vec<SshRule>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) approvers: Approvers,
    pub(crate) postures: BTreeMap<String, Posture>,
    pub(crate) switches: Switches,
    pub(crate) tests: Vec<AccessTest>,
    pub(crate) ssh_tests: Vec<SshTest>,
    /// Hosts, for tests that name them.
    pub(crate) hosts: BTreeMap<String, bowline_ip_set::IpRange>,
    /// IP sets, for tests that name them; empty without tests.
    pub(crate) ip_sets: BTreeMap<String, Vec<bowline_ip_set::IpRange>>,
    /// Relays besides or instead of the server's own, as JSON text in the clients' spelling.
    pub(crate) derp_map: Option<String>,
    /// What does not do what it says.
    pub(crate) warnings: Vec<Problem>,
}

impl Policy {
    /// Returns the policy that is in force while there is no document: everybody reaches everything.
    #[must_use]
    pub fn allow_all() -> Self {
        Self {
            rules: vec![Arc::new(Rule::allow_all())],
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
            Reading::new(reader, context).document(object)
        });
        match read {
            Ok(None) => Ok(Self::allow_all()),
            Ok(Some(result)) => result,
            Err(problem) => Err(vec![problem]),
        }
    }

    /// Returns what of the document does not do what it says, at most fifty of it.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl Rule {
    /// Returns the rule that lets everybody reach everything.
    pub(crate) fn allow_all() -> Self {
        Self {
            sources: Arc::new(BTreeSet::from([Selector::Any.into()])),
            destinations: vec![Selector::Any.into()],
            services: vec![Service {
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
