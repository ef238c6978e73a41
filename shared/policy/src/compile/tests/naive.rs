//! What rules say, looked at one by one.

use std::{collections::BTreeMap, net::IpAddr};

use bowline_ip_set::IpRange;

use crate::{
    attribute::Attributes,
    internet,
    inventory::{PolicyNode, PolicyUser},
    policy::{AccessRule, DestinationKind, Policy, PosturedSelector},
    selector::Selector,
};

/// A policy and what it is applied to.
#[derive(Clone, Copy)]
pub(crate) struct NaivePolicy<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) users: &'p BTreeMap<u64, PolicyUser>,
    pub(crate) nodes: &'p BTreeMap<u64, PolicyNode>,
}

/// An address, and the node that has it, if one does.
#[derive(Clone, Copy)]
pub(crate) struct NaiveAddress<'p> {
    pub(crate) address: IpAddr,
    pub(crate) node: Option<&'p PolicyNode>,
}

impl<'p> NaivePolicy<'p> {
    /// Returns the owner of a node that has no tags.
    pub(crate) fn owner(self, node: &PolicyNode) -> Option<&'p PolicyUser> {
        self.users.get(&node.user).filter(|_| node.tags.is_empty())
    }

    /// Returns all addresses of a node.
    pub(crate) fn addresses_of(node: &'p PolicyNode) -> impl Iterator<Item = NaiveAddress<'p>> {
        node.addresses().map(|address| NaiveAddress {
            address,
            node: Some(node),
        })
    }

    /// Says whether a selector selects a node by who it is.
    pub(crate) fn selects(self, selector: &Selector, node: &PolicyNode) -> bool {
        match selector {
            Selector::Tag(tag) => node.tags.contains(tag),
            Selector::Tagged => !node.tags.is_empty(),
            Selector::Any | Selector::Everyone => true,
            other => self
                .owner(node)
                .is_some_and(|user| self.policy.selects_user(other, user)),
        }
    }

    /// Says whether a selector with its postures selects an address; `attributes` stand in for those of the device.
    pub(crate) fn selects_address(
        self,
        named: &PosturedSelector,
        address: NaiveAddress<'_>,
        attributes: Option<&Attributes>,
    ) -> bool {
        match &named.selector {
            Selector::Range(range) => range.contains(address.address),
            Selector::Everyone => true,
            Selector::Any if named.postures.is_empty() => self.is_inside(address),
            selector => address.node.is_some_and(|node| {
                self.selects(selector, node)
                    && self.meets(named, attributes.unwrap_or(&node.attributes))
            }),
        }
    }

    fn meets(self, named: &PosturedSelector, attributes: &Attributes) -> bool {
        let postures = named
            .postures
            .iter()
            .filter_map(|name| self.policy.postures.get(name));
        named.postures.is_empty()
            || postures
                .into_iter()
                .any(|posture| posture.is_met_by(attributes))
    }

    /// Says whether `*` as a source has an address (policy section 4.3).
    fn is_inside(self, address: NaiveAddress<'_>) -> bool {
        let mut ranges = internet::ANY
            .iter()
            .filter_map(|text| text.parse::<IpRange>().ok());
        ranges.any(|range| range.contains(address.address))
            || self
                .nodes
                .values()
                .flat_map(PolicyNode::subnet_routes)
                .any(|route| route.contains(&address.address))
    }
}

/// Says whether a destination of a rule has an address, for a source that the rule has.
pub(crate) fn reaches(
    policy: NaivePolicy<'_>,
    rule: &AccessRule,
    from: NaiveAddress<'_>,
    to: NaiveAddress<'_>,
) -> bool {
    match rule.destination_kind {
        DestinationKind::Named => rule.destinations.iter().any(|named| match &named.selector {
            Selector::Any => true,
            Selector::Internet => internet::is_public(&to.address.into()),
            _ => policy.selects_address(named, to, None),
        }),
        DestinationKind::Own | DestinationKind::OwnReversed => {
            let owner = |address: NaiveAddress<'_>| {
                address
                    .node
                    .and_then(|node| policy.owner(node))
                    .map(|user| user.id)
            };
            owner(from).is_some() && owner(from) == owner(to)
        }
    }
}
