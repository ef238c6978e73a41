//! What a text of a test names.

use std::net::IpAddr;

use bowline_ip_set::IpRange;

use super::{
    TestedTailnet,
    budget::{Budget, Exhausted},
    device::{MadeUpDevice, TestDevice},
};
use crate::{
    inventory::{PolicyUser, Role},
    selector::{self, Selector, WrittenSelector},
};

/// What a text of a test names.
#[derive(Debug)]
pub(super) enum TestTarget<'w> {
    /// Devices, by who they are.
    Devices(Vec<TestDevice<'w>>),
    /// Devices that an identity without any would have.
    MadeUp(Vec<MadeUpDevice>),
    /// One address, whether or not a node has it.
    Address(IpAddr),
    /// More than one address: prefixes, hosts that stand for several, IP sets.
    Ranges(Vec<IpRange>),
    /// The devices of the source's own user.
    Own,
    /// Nothing that a test can use.
    Nothing,
}

impl From<IpRange> for TestTarget<'_> {
    fn from(range: IpRange) -> Self {
        if range.is_single() {
            Self::Address(range.low())
        } else {
            Self::Ranges(vec![range])
        }
    }
}

impl<'w> TestedTailnet<'w> {
    /// Returns what a text names; users that identity does not know have a role.
    pub(super) fn resolve_target(
        &self,
        text: &str,
        stranger_role: Role,
        budget: &mut Budget,
    ) -> Result<TestTarget<'w>, Exhausted> {
        Ok(match selector::parse(text) {
            // A text with a length is a prefix, even `10.0.0.1/32`.
            WrittenSelector::Selector(Selector::Range(prefix)) if text.contains('/') => {
                TestTarget::Ranges(vec![prefix])
            }
            WrittenSelector::Selector(Selector::Range(address)) => address.into(),
            WrittenSelector::Host(name) => match self.policy.hosts.get(name) {
                Some(host) => (*host).into(),
                None => TestTarget::Nothing,
            },
            WrittenSelector::IpSet(name) => match self.policy.ip_sets.get(name) {
                Some(ranges) => TestTarget::Ranges(ranges.clone()),
                None => TestTarget::Nothing,
            },
            WrittenSelector::Selector(Selector::Own) => TestTarget::Own,
            WrittenSelector::Selector(selector) if selector.is_identity() => {
                let devices = self.selected_devices(&selector, budget)?;
                budget.spend(devices.len())?;
                if devices.is_empty() {
                    TestTarget::MadeUp(self.make_up_devices(&selector, stranger_role, budget)?)
                } else {
                    TestTarget::Devices(devices)
                }
            }
            WrittenSelector::Selector(_)
            | WrittenSelector::UnknownAutogroup
            | WrittenSelector::UnknownKind => TestTarget::Nothing,
        })
    }

    /// Returns the device that has an address.
    pub(super) fn device_at(&self, address: IpAddr) -> Option<TestDevice<'w>> {
        let node = self.by_address.get(&address);
        node.map(|node| self.device_of(node))
    }

    /// Returns the devices that a selector selects by who they are.
    fn selected_devices(
        &self,
        selector: &Selector,
        budget: &mut Budget,
    ) -> Result<Vec<TestDevice<'w>>, Exhausted> {
        let devices = |user: &PolicyUser| self.devices.get(&user.id).cloned().unwrap_or_default();
        Ok(match selector {
            Selector::Tag(tag) => {
                let nodes = self.by_tag.get(&**tag).into_iter().flatten();
                nodes.map(|node| self.device_of(node)).collect()
            }
            Selector::Tagged => {
                budget.spend(self.nodes.len())?;
                let tagged = self.nodes.values().filter(|node| !node.tags.is_empty());
                tagged.map(|node| self.device_of(node)).collect()
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
