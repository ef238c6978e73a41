//! The devices that tests judge: those of the inventory, or made-up ones of an identity that has none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    TestedTailnet,
    budget::{Budget, Exhausted},
};
use crate::{
    compile::hash,
    inventory::{PolicyNode, PolicyUser, Role},
    selector::Selector,
};

/// A node with its owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestDevice<'d> {
    pub(super) node: &'d PolicyNode,
    /// Nobody for a tagged node.
    pub(super) owner: Option<&'d PolicyUser>,
}

/// An address, and the device that has it, if one does.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestAddress<'d> {
    pub(super) address: IpAddr,
    pub(super) device: Option<TestDevice<'d>>,
}

impl<'d> TestDevice<'d> {
    /// Returns its addresses.
    pub(super) fn addresses(self) -> impl Iterator<Item = TestAddress<'d>> {
        let addresses = self.node.addresses();
        addresses.map(move |address| TestAddress {
            address,
            device: Some(self),
        })
    }
}

/// A device that does not exist, as an identity would have it.
#[derive(Clone, Debug)]
pub(super) struct MadeUpDevice {
    node: PolicyNode,
    owner: Option<PolicyUser>,
    /// Whether its owner is a stranger: a user that identity does not know.
    pub(super) is_of_stranger: bool,
}

/// The roles that strangers are taken to have, as sources and as destinations.
///
/// Somebody who moves a tailnet here writes tests before anybody has logged in, and a login alone does not tell the role
/// its user will have. So a test is run with each role, and fails only when it fails with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StrangerRoles {
    pub(super) of_sources: Role,
    pub(super) of_destinations: Role,
}

impl StrangerRoles {
    /// Returns the combinations to try, the most likely first. A destination is a member, or what the source is.
    pub(super) fn candidates() -> Vec<Self> {
        let mut candidates = Vec::new();
        for of_sources in Role::ALL.into_iter().chain([Role::Outsider]) {
            candidates.push(Self {
                of_sources,
                of_destinations: Role::Member,
            });
            if of_sources != Role::Member {
                candidates.push(Self {
                    of_sources,
                    of_destinations: of_sources,
                });
            }
        }
        candidates
    }
}

/// The number of made-up nodes: the registry counts from one.
const MADE_UP_NODE: u64 = u64::MAX;
/// The numbers of strangers begin here.
const FIRST_STRANGER: u64 = 1 << 63;
/// Addresses of the tailnet's own blocks that pools give out last.
const IPV4: Ipv4Addr = Ipv4Addr::new(100, 127, 255, 254);
const IPV6: Ipv6Addr = Ipv6Addr::new(
    0xfd7a, 0x115c, 0xa1e0, 0xffff, 0xffff, 0xffff, 0xffff, 0xfffe,
);
/// The tag of a node about which only one thing is known: that it has one. No policy can define it.
const SOME_TAG: &str = "tag:";

impl MadeUpDevice {
    fn of_user(owner: PolicyUser) -> Self {
        let node = PolicyNode {
            user: owner.id,
            ..Self::with_tags(Vec::new()).node
        };
        Self {
            node,
            is_of_stranger: owner.id >= FIRST_STRANGER,
            owner: Some(owner),
        }
    }

    fn with_tags(tags: Vec<String>) -> Self {
        let node = PolicyNode {
            id: MADE_UP_NODE,
            tags,
            ipv4: Some(IPV4),
            ipv6: Some(IPV6),
            ..PolicyNode::default()
        };
        Self {
            node,
            owner: None,
            is_of_stranger: false,
        }
    }

    /// Returns the device.
    pub(super) fn device(&self) -> TestDevice<'_> {
        TestDevice {
            node: &self.node,
            owner: self.owner.as_ref(),
        }
    }
}

impl TestedTailnet<'_> {
    /// Returns the devices that an identity without devices would have, one for each user. None when the identity is
    /// nobody: a tag that is not defined, a group without members, a group that nobody has.
    pub(super) fn make_up_devices(
        &self,
        selector: &Selector,
        stranger_role: Role,
        budget: &mut Budget,
    ) -> Result<Vec<MadeUpDevice>, Exhausted> {
        let owners = match selector {
            Selector::Tag(tag) if self.policy.tag_owners.contains_key(tag) => {
                return Ok(vec![MadeUpDevice::with_tags(vec![tag.to_owned()])]);
            }
            Selector::Tag(_) => return Ok(Vec::new()),
            Selector::Tagged => {
                return Ok(vec![MadeUpDevice::with_tags(vec![SOME_TAG.to_owned()])]);
            }
            Selector::User(login) => vec![self.user_or_stranger(login, stranger_role)],
            Selector::Group(name) => match self.policy.groups.get(name) {
                Some(members) => members
                    .iter()
                    .map(|login| self.user_or_stranger(login, stranger_role))
                    .collect(),
                None => self.selected_users(selector, budget)?,
            },
            Selector::Domain(domain) => {
                let placeholder = placeholder_user(format!("@{domain}"), Role::Member);
                self.users_or_placeholder(placeholder, selector, budget)?
            }
            Selector::Role(role) => {
                let placeholder = placeholder_user(String::new(), *role);
                self.users_or_placeholder(placeholder, selector, budget)?
            }
            Selector::Member => {
                let placeholder = placeholder_user(String::new(), Role::Member);
                self.users_or_placeholder(placeholder, selector, budget)?
            }
            _ => Vec::new(),
        };
        budget.spend(owners.len())?;
        Ok(owners.into_iter().map(MadeUpDevice::of_user).collect())
    }

    /// Returns the user with a login, or a stranger.
    fn user_or_stranger(&self, login: &str, stranger_role: Role) -> PolicyUser {
        match self.by_login.get(login) {
            Some(known) => (*known).clone(),
            None => PolicyUser {
                id: hash("stranger", [login]) | FIRST_STRANGER,
                ..placeholder_user(login.to_owned(), stranger_role)
            },
        }
    }

    fn selected_users(
        &self,
        selector: &Selector,
        budget: &mut Budget,
    ) -> Result<Vec<PolicyUser>, Exhausted> {
        budget.spend(self.users.len())?;
        let users = self.users.values();
        let selected = users.filter(|user| self.policy.selects_user(selector, user));
        Ok(selected.cloned().collect())
    }

    /// Returns the users that a selector selects, or a placeholder for one it would select.
    fn users_or_placeholder(
        &self,
        placeholder: PolicyUser,
        selector: &Selector,
        budget: &mut Budget,
    ) -> Result<Vec<PolicyUser>, Exhausted> {
        let found = self.selected_users(selector, budget)?;
        Ok(if found.is_empty() {
            vec![placeholder]
        } else {
            found
        })
    }
}

/// Returns a user who stands for anybody with a role.
fn placeholder_user(login_name: String, role: Role) -> PolicyUser {
    PolicyUser {
        id: FIRST_STRANGER - 1,
        login_name,
        role,
        groups: Vec::new(),
    }
}
