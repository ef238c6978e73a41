//! The `tests` and `sshTests` of a document, run against an inventory (policy reference section 20).

mod access;
mod ssh;

#[cfg(test)]
pub(crate) use access::reaches;

use std::{collections::BTreeMap, net::IpAddr};

use bowline_ip_set::IpRange;

use crate::{
    internet,
    inventory::{Node, User},
    policy::{Party, Policy},
    posture::Attributes,
    problem::Problem,
    selector::{self, Selector, Written},
};

/// A policy and what it is judged with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'w> {
    pub(crate) policy: &'w Policy,
    pub(crate) users: &'w BTreeMap<u64, User>,
    pub(crate) nodes: &'w BTreeMap<u64, Node>,
}

/// An address, and the node that has it, if one does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'w> {
    pub(crate) address: IpAddr,
    pub(crate) node: Option<&'w Node>,
}

/// Returns the tests of a policy that fail, in order, with the place of each.
#[must_use]
pub fn failed_tests(
    policy: &Policy,
    users: &BTreeMap<u64, User>,
    nodes: &BTreeMap<u64, Node>,
) -> Vec<Problem> {
    let world = World {
        policy,
        users,
        nodes,
    };
    let access = policy.tests.iter().flat_map(|test| {
        let failures = access::failures(world, test);
        failures.into_iter().map(|why| (test.line, why))
    });
    let ssh = policy.ssh_tests.iter().flat_map(|test| {
        let failures = ssh::failures(world, test);
        failures.into_iter().map(|why| (test.line, why))
    });
    let problem = |(line, why)| Problem {
        line,
        column: 1,
        message: format!("test(s) failed: {why}"),
        hint: String::new(),
    };
    access.chain(ssh).map(problem).collect()
}

impl<'w> World<'w> {
    /// Returns the owner of a node that has no tags.
    pub(crate) fn owner(self, node: &Node) -> Option<&'w User> {
        self.users.get(&node.user).filter(|_| node.tags.is_empty())
    }

    /// Returns all addresses of a node.
    pub(crate) fn places_of(node: &'w Node) -> impl Iterator<Item = Place<'w>> {
        let addresses = node
            .ipv4
            .map(IpAddr::from)
            .into_iter()
            .chain(node.ipv6.map(IpAddr::from));
        addresses.map(|address| Place {
            address,
            node: Some(node),
        })
    }

    /// Returns the addresses that a selector names; empty when it names nothing that a test can use.
    pub(crate) fn places(self, text: &str) -> Vec<Place<'w>> {
        let single = |range: &IpRange| {
            if !range.is_single() {
                return Vec::new();
            }
            let node = self.nodes.values().find(|node| {
                node.ipv4.map(IpAddr::from) == Some(range.low())
                    || node.ipv6.map(IpAddr::from) == Some(range.low())
            });
            vec![Place {
                address: range.low(),
                node,
            }]
        };
        let selector = match selector::parse(text) {
            Written::Selector(Selector::Range(range))
                if text.contains('/') || !range.is_single() =>
            {
                return Vec::new();
            }
            Written::Selector(Selector::Range(range)) => return single(&range),
            Written::Selector(selector) => selector,
            Written::Host(name) => {
                return self.policy.hosts.get(name).map(single).unwrap_or_default();
            }
            Written::IpSet(_) | Written::UnknownAutogroup => return Vec::new(),
        };
        if !selector.is_identity() {
            return Vec::new();
        }
        let selected = self
            .nodes
            .values()
            .filter(|node| self.selects(&selector, node));
        selected.flat_map(Self::places_of).collect()
    }

    /// Says whether a selector selects a node by who it is.
    pub(crate) fn selects(self, selector: &Selector, node: &Node) -> bool {
        match selector {
            Selector::Tag(tag) => node.tags.contains(tag),
            Selector::Tagged => !node.tags.is_empty(),
            Selector::Any | Selector::Everyone => true,
            other => self
                .owner(node)
                .is_some_and(|user| self.policy.selects_user(other, user)),
        }
    }

    /// Says whether a party is where a place is; `attributes` stand in for those of the device.
    pub(crate) fn has(
        self,
        party: &Party,
        place: Place<'_>,
        attributes: Option<&Attributes>,
    ) -> bool {
        match &party.selector {
            Selector::Range(range) => range.contains(place.address),
            Selector::Everyone => true,
            Selector::Any if party.postures.is_empty() => self.is_inside(place),
            selector => place.node.is_some_and(|node| {
                self.selects(selector, node)
                    && self.meets(party, attributes.unwrap_or(&node.attributes))
            }),
        }
    }

    fn meets(self, party: &Party, attributes: &Attributes) -> bool {
        let postures = party
            .postures
            .iter()
            .filter_map(|name| self.policy.postures.get(name));
        party.postures.is_empty()
            || postures
                .into_iter()
                .any(|posture| posture.holds(attributes))
    }

    /// Says whether `*` as a source has an address (policy reference section 4.3).
    fn is_inside(self, place: Place<'_>) -> bool {
        let mut ranges = internet::ANY
            .iter()
            .filter_map(|text| text.parse::<IpRange>().ok());
        ranges.any(|range| range.contains(place.address))
            || self
                .nodes
                .values()
                .flat_map(Node::subnet_routes)
                .any(|route| route.contains(&place.address))
    }
}
