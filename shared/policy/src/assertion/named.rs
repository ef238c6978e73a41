//! What a test names.

use std::net::IpAddr;

use bowline_ip_set::IpRange;

use super::{
    World,
    budget::{Budget, Exhausted},
    device::{Device, MadeUpDevice},
};
use crate::{
    inventory::{Role, User},
    selector::{self, Selector, Written},
};

/// What a text of a test names.
#[derive(Debug)]
pub(super) enum Named<'w> {
    /// Devices, by who they are.
    Devices(Vec<Device<'w>>),
    /// Devices of an identity that has none.
    MadeUp(Vec<MadeUpDevice>),
    /// One address, whether or not a node has it.
    Address(IpAddr),
    /// Addresses that are not one: prefixes, hosts that stand for several, IP sets.
    Ranges(Vec<IpRange>),
    /// The devices of the source's own user.
    Own,
    /// Nothing that a test can use.
    Nothing,
}

impl<'w> World<'w> {
    /// Returns what a text names; strangers are of some standing.
    pub(super) fn named(
        &self,
        text: &str,
        standing: Role,
        budget: &mut Budget,
    ) -> Result<Named<'w>, Exhausted> {
        let range = |range: IpRange| {
            if range.is_single() {
                Named::Address(range.low())
            } else {
                Named::Ranges(vec![range])
            }
        };
        Ok(match selector::parse(text) {
            // What has a length is a prefix, however long.
            Written::Selector(Selector::Range(prefix)) if text.contains('/') => {
                Named::Ranges(vec![prefix])
            }
            Written::Selector(Selector::Range(address)) => range(address),
            Written::Host(name) => {
                let host = self.policy.hosts.get(name);
                host.map_or(Named::Nothing, |host| range(*host))
            }
            Written::IpSet(name) => {
                let set = self.policy.ip_sets.get(name).cloned();
                set.map_or(Named::Nothing, Named::Ranges)
            }
            Written::Selector(Selector::Own) => Named::Own,
            Written::Selector(selector) if selector.is_identity() => {
                let devices = self.selected(&selector, budget)?;
                budget.spend(devices.len())?;
                if devices.is_empty() {
                    Named::MadeUp(self.made_up(&selector, standing, budget)?)
                } else {
                    Named::Devices(devices)
                }
            }
            Written::Selector(_) | Written::UnknownAutogroup | Written::UnknownKind => {
                Named::Nothing
            }
        })
    }

    /// Returns the device that has an address.
    pub(super) fn at(&self, address: IpAddr) -> Option<Device<'w>> {
        let node = self.by_address.get(&address);
        node.map(|node| self.device(node))
    }

    /// Returns the devices that a selector selects by who they are.
    fn selected(
        &self,
        selector: &Selector,
        budget: &mut Budget,
    ) -> Result<Vec<Device<'w>>, Exhausted> {
        let devices = |user: &User| self.devices.get(&user.id).cloned().unwrap_or_default();
        Ok(match selector {
            Selector::Tag(tag) => {
                let nodes = self.by_tag.get(&**tag).into_iter().flatten();
                nodes.map(|node| self.device(node)).collect()
            }
            Selector::Tagged => {
                budget.spend(self.nodes.len())?;
                let tagged = self.nodes.values().filter(|node| !node.tags.is_empty());
                tagged.map(|node| self.device(node)).collect()
            }
            Selector::User(login) => {
                let user = self.by_login.get(&**login);
                user.map_or_else(Vec::new, |user| devices(user))
            }
            other => {
                budget.spend(self.users.len())?;
                let users = self.users.values();
                let users = users.filter(|user| self.policy.selects_user(other, user));
                users.flat_map(devices).collect()
            }
        })
    }
}
