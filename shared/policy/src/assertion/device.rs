//! The devices that tests judge: those of the inventory, or made-up ones of an identity that has none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    World,
    budget::{Budget, Exhausted},
};
use crate::{
    compile::hash,
    inventory::{Node, Role, User},
    selector::Selector,
};

/// A node with its owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'d> {
    pub(super) node: &'d Node,
    /// Nobody for a tagged node.
    pub(super) owner: Option<&'d User>,
}

impl<'d> Device<'d> {
    /// Returns its addresses, each with the device.
    pub(super) fn places(self) -> impl Iterator<Item = Place<'d>> {
        let place = move |address| (address, Some(self));
        self.node.addresses().map(place)
    }
}

/// An address, and the device that has it, if one does.
pub(super) type Place<'d> = (IpAddr, Option<Device<'d>>);

/// A device that nobody has, as an identity would have it.
#[derive(Clone, Debug)]
pub(super) struct MadeUpDevice {
    node: Node,
    owner: Option<User>,
    /// Whether identity does not know the owner.
    pub(super) is_strangers: bool,
}

/// What strangers are taken for, as sources and as destinations. Whoever moves in writes tests before the first login:
/// they fail when they fail for whatever the stranger may turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standings {
    pub(super) of_sources: Role,
    pub(super) of_destinations: Role,
}

impl Standings {
    /// Returns what strangers may be, the most likely first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let roles = Role::ALL.into_iter().chain([Role::Outsider]);
        roles.flat_map(|of_sources| {
            let destinations = [Role::Member, of_sources];
            let used = if of_sources == Role::Member { 1 } else { 2 };
            let standings = move |of_destinations| Self {
                of_sources,
                of_destinations,
            };
            destinations.into_iter().take(used).map(standings)
        })
    }
}

/// The number of made-up nodes: the registry counts from one.
const NUMBER: u64 = u64::MAX;
/// The numbers of strangers are from here on.
const STRANGERS: u64 = 1 << 63;
/// Addresses of the tailnet's own blocks that pools come to last.
const IPV4: Ipv4Addr = Ipv4Addr::new(100, 127, 255, 254);
const IPV6: Ipv6Addr = Ipv6Addr::new(
    0xfd7a, 0x115c, 0xa1e0, 0xffff, 0xffff, 0xffff, 0xffff, 0xfffe,
);
/// The tag of a node of which only is known that it has one: no policy can define it.
const SOME_TAG: &str = "tag:";

impl MadeUpDevice {
    fn of(owner: User) -> Self {
        let node = Node {
            user: owner.id,
            ..Self::tagged(Vec::new()).node
        };
        Self {
            node,
            is_strangers: owner.id >= STRANGERS,
            owner: Some(owner),
        }
    }

    fn tagged(tags: Vec<String>) -> Self {
        let node = Node {
            id: NUMBER,
            tags,
            ipv4: Some(IPV4),
            ipv6: Some(IPV6),
            ..Node::default()
        };
        Self {
            node,
            owner: None,
            is_strangers: false,
        }
    }

    /// Returns the device.
    pub(super) fn device(&self) -> Device<'_> {
        Device {
            node: &self.node,
            owner: self.owner.as_ref(),
        }
    }
}

impl World<'_> {
    /// Returns the devices that an identity without devices would have, one for each user; none where it is nobody:
    /// a tag that is not defined, a group without members or that nobody knows.
    pub(super) fn made_up(
        &self,
        selector: &Selector,
        standing: Role,
        budget: &mut Budget,
    ) -> Result<Vec<MadeUpDevice>, Exhausted> {
        let defined = &self.policy.tag_owners;
        let of_tag = |tag: &str| vec![MadeUpDevice::tagged(vec![tag.to_owned()])];
        let owners = match selector {
            Selector::Tag(tag) if defined.contains_key(tag) => return Ok(of_tag(tag)),
            Selector::Tag(_) => return Ok(Vec::new()),
            Selector::Tagged => return Ok(of_tag(SOME_TAG)),
            Selector::User(login) => vec![self.user(login, standing)],
            Selector::Group(name) => match self.policy.groups.get(name) {
                Some(members) => {
                    let members = members.iter();
                    members.map(|login| self.user(login, standing)).collect()
                }
                None => self.users_of(selector, budget)?,
            },
            Selector::Domain(domain) => {
                let someone = somebody(format!("@{domain}"), Role::Member);
                self.users_or(someone, selector, budget)?
            }
            Selector::Role(role) => {
                let someone = somebody(String::new(), *role);
                self.users_or(someone, selector, budget)?
            }
            Selector::Member => {
                let someone = somebody(String::new(), Role::Member);
                self.users_or(someone, selector, budget)?
            }
            _ => Vec::new(),
        };
        budget.spend(owners.len())?;
        Ok(owners.into_iter().map(MadeUpDevice::of).collect())
    }

    /// Returns the user with a login, or a stranger.
    fn user(&self, login: &str, standing: Role) -> User {
        match self.by_login.get(login) {
            Some(known) => (*known).clone(),
            None => User {
                id: hash("stranger", [login]) | STRANGERS,
                ..somebody(login.to_owned(), standing)
            },
        }
    }

    fn users_of(&self, selector: &Selector, budget: &mut Budget) -> Result<Vec<User>, Exhausted> {
        budget.spend(self.users.len())?;
        let users = self.users.values();
        let selected = users.filter(|user| self.policy.selects_user(selector, user));
        Ok(selected.cloned().collect())
    }

    /// Returns the users that a selector selects, or else somebody whom it would select.
    fn users_or(
        &self,
        someone: User,
        selector: &Selector,
        budget: &mut Budget,
    ) -> Result<Vec<User>, Exhausted> {
        let found = self.users_of(selector, budget)?;
        Ok(if found.is_empty() {
            vec![someone]
        } else {
            found
        })
    }
}

/// Returns a user who stands for whoever would be selected.
fn somebody(login_name: String, role: Role) -> User {
    User {
        id: STRANGERS - 1,
        login_name,
        role,
        groups: Vec::new(),
    }
}
