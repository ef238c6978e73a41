//! What a policy is resolved against: users and nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{attribute::Attributes, selector::login_name};

/// What a user may administer. Autogroups such as `autogroup:admin` select by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// No administration.
    #[default]
    Member,
    /// Everything.
    Owner,
    /// Everything but ownership.
    Admin,
    /// Users and devices.
    ItAdmin,
    /// Policy, DNS and routes.
    NetworkAdmin,
    /// Billing.
    BillingAdmin,
    /// Reads everything.
    Auditor,
    /// Not even a member. No user of a tailnet has this role: tests use it to judge somebody who never joined.
    Outsider,
}

impl Role {
    /// Returns the name after `autogroup:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::ItAdmin => "it-admin",
            Self::NetworkAdmin => "network-admin",
            Self::BillingAdmin => "billing-admin",
            Self::Auditor => "auditor",
            Self::Outsider => "outsider",
        }
    }

    /// The roles that users have.
    pub(crate) const ALL: [Self; 7] = [
        Self::Member,
        Self::Owner,
        Self::Admin,
        Self::ItAdmin,
        Self::NetworkAdmin,
        Self::BillingAdmin,
        Self::Auditor,
    ];

    /// Returns the role with a name.
    #[must_use]
    pub fn with_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Says whether the autogroup of `wanted` selects a user with this role: owners are admins too.
    #[must_use]
    pub fn is_in(self, wanted: Self) -> bool {
        self == wanted || (self == Self::Owner && wanted == Self::Admin)
    }
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyUser {
    /// Number.
    pub id: u64,
    /// E-mail-like login name, in the form that [`login_name`] returns.
    pub login_name: String,
    /// Role.
    pub role: Role,
    /// Groups of the tailnet, with `group:`.
    pub groups: Vec<String>,
}

impl PolicyUser {
    /// Returns a user from what identity knows: its group names have no `group:`.
    #[must_use]
    pub fn new(id: u64, name: &str, role: Role, groups: &[String]) -> Self {
        Self {
            id,
            login_name: login_name(name),
            role,
            groups: groups
                .iter()
                .map(|group| format!("group:{group}"))
                .collect(),
        }
    }
}

/// A node. With tags it belongs to no user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyNode {
    /// Number.
    pub id: u64,
    /// Owner; ignored when there are tags.
    pub user: u64,
    /// Tags with `tag:`, in the form that [`crate::tag_name`] returns.
    pub tags: Vec<String>,
    /// IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Routes that are both advertised and approved, exit routes included, sorted.
    pub usable_routes: Vec<IpNet>,
    /// The attributes that postures ask about.
    pub attributes: Attributes,
}

impl PolicyNode {
    /// Returns its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ipv4 = self.ipv4.map(IpAddr::from);
        ipv4.into_iter().chain(self.ipv6.map(IpAddr::from))
    }

    /// Says whether the node is an exit node: it has a usable default route.
    #[must_use]
    pub fn is_exit(&self) -> bool {
        self.usable_routes
            .iter()
            .any(|route| route.prefix_len() == 0)
    }

    /// Returns the usable routes that are not exit routes.
    pub fn subnet_routes(&self) -> impl Iterator<Item = &IpNet> {
        self.usable_routes
            .iter()
            .filter(|route| route.prefix_len() != 0)
    }
}

/// Returns a tailnet's own domains: those of its owners, or of all users while it has no owner.
#[must_use]
pub fn own_domains(users: &BTreeMap<u64, PolicyUser>) -> BTreeSet<String> {
    let domains = |role: Option<Role>| {
        let users = users
            .values()
            .filter(move |user| role.is_none_or(|role| user.role == role));
        let domain = |user: &PolicyUser| Some(user.login_name.rsplit_once('@')?.1.to_owned());
        users.filter_map(domain).collect::<BTreeSet<_>>()
    };
    let owners = domains(Some(Role::Owner));
    if owners.is_empty() {
        domains(None)
    } else {
        owners
    }
}
