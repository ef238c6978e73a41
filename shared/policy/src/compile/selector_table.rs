//! The selectors of some rules, each once with a number, and which of them select a node.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use bowline_ip_set::IpRange;

use super::{hash, range_index::RangeIndex};
use crate::{
    attribute::Attributes,
    inventory::{PolicyNode, PolicyUser, Role},
    policy::{Policy, PosturedSelector},
    posture::Posture,
    selector::Selector,
};

/// Selectors by number, from zero.
///
/// `*` without a posture has no number: it selects everything, so rules carry it as a flag.
///
/// A node is looked up by what it is (user, groups, tags, addresses), never by asking each selector in turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelectorTable {
    all: Vec<PosturedSelector>,
    numbers: HashMap<PosturedSelector, u32>,
    /// The id of each selector: the same on every replica.
    pub(crate) ids: Vec<u64>,
    users: HashMap<String, Vec<u32>>,
    domains: HashMap<String, Vec<u32>>,
    /// By name, for the groups of the tailnet that the policy does not define.
    groups: HashMap<String, Vec<u32>>,
    /// By login name, for the groups of the policy.
    members: HashMap<String, Vec<u32>>,
    tags: HashMap<String, Vec<u32>>,
    roles: Vec<(Role, u32)>,
    any: Vec<u32>,
    member: Vec<u32>,
    tagged: Vec<u32>,
    ranges: RangeIndex,
    postures: BTreeMap<String, Posture>,
}

impl SelectorTable {
    /// Returns a selector's number, a new one if it has none.
    pub(super) fn intern(&mut self, selector: &PosturedSelector) -> u32 {
        if let Some(number) = self.numbers.get(selector) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let mut parts = vec![selector.selector.to_string()];
        parts.extend(selector.postures.iter().cloned());
        self.ids.push(hash("party", parts));
        self.numbers.insert(selector.clone(), number);
        self.all.push(selector.clone());
        number
    }

    /// Builds the indexes that find a node's selectors; nothing may be added afterwards.
    pub(super) fn index(&mut self, policy: &Policy) {
        let mut ranges = Vec::new();
        for (number, selector) in self.all.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let numbers = match &selector.selector {
                Selector::Any => &mut self.any,
                Selector::Member => &mut self.member,
                Selector::Tagged => &mut self.tagged,
                Selector::User(name) => self.users.entry(name.clone()).or_default(),
                Selector::Domain(name) => self.domains.entry(name.clone()).or_default(),
                Selector::Tag(name) => self.tags.entry(name.clone()).or_default(),
                Selector::Group(name) => match policy.groups.get(name) {
                    Some(members) => {
                        for member in members {
                            self.members.entry(member.clone()).or_default().push(number);
                        }
                        continue;
                    }
                    None => self.groups.entry(name.clone()).or_default(),
                },
                Selector::Role(role) => {
                    self.roles.push((*role, number));
                    continue;
                }
                Selector::Range(range) => {
                    ranges.push((*range, number));
                    continue;
                }
                Selector::Everyone
                | Selector::Shared
                | Selector::Own
                | Selector::Internet
                | Selector::Service(_) => continue,
            };
            numbers.push(number);
        }
        self.ranges = ranges.into_iter().collect();
        self.postures.clone_from(&policy.postures);
    }

    /// Returns a selector.
    pub(crate) fn get(&self, number: u32) -> &PosturedSelector {
        &self.all[number as usize]
    }

    /// Says whether a selector is a range of addresses.
    pub(super) fn is_range(&self, number: u32) -> bool {
        matches!(self.get(number).selector, Selector::Range(_))
    }

    /// Returns the selectors that select a node, by who it is or by its addresses, ascending.
    pub(crate) fn selectors_of_node(
        &self,
        node: &PolicyNode,
        user: Option<&PolicyUser>,
    ) -> Vec<u32> {
        let mut found = self.identity_selectors(node, user, &node.attributes);
        for address in node.addresses() {
            found.extend(self.ranges_with_address(address));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the selectors that select a node by who it is, as if its device had these attributes; in no order, some
    /// of them twice.
    pub(crate) fn identity_selectors(
        &self,
        node: &PolicyNode,
        user: Option<&PolicyUser>,
        attributes: &Attributes,
    ) -> Vec<u32> {
        let mut found = self.any.clone();
        if node.tags.is_empty() {
            if let Some(user) = user {
                self.add_user_selectors(user, &mut found);
            }
        } else {
            found.extend(&self.tagged);
            let tags = node.tags.iter().filter_map(|tag| self.tags.get(tag));
            found.extend(tags.flatten());
        }
        found.retain(|number| self.is_posture_met(*number, attributes));
        found
    }

    fn add_user_selectors(&self, user: &PolicyUser, found: &mut Vec<u32>) {
        let login = &user.login_name;
        found.extend(self.users.get(login).into_iter().flatten());
        found.extend(self.members.get(login).into_iter().flatten());
        if user.role != Role::Outsider {
            found.extend(&self.member);
            if let Some((_, domain)) = login.rsplit_once('@') {
                found.extend(self.domains.get(domain).into_iter().flatten());
            }
        }
        let groups = user.groups.iter().filter_map(|name| self.groups.get(name));
        found.extend(groups.flatten());
        let roles = self.roles.iter().filter(|(role, _)| user.role.is_in(*role));
        found.extend(roles.map(|(_, number)| number));
    }

    /// Says whether a device meets one of the postures that a selector asks for.
    fn is_posture_met(&self, number: u32, attributes: &Attributes) -> bool {
        let wanted = &self.get(number).postures;
        wanted.is_empty()
            || wanted
                .iter()
                .filter_map(|name| self.postures.get(name))
                .any(|posture| posture.is_met_by(attributes))
    }

    /// Returns the ranges that contain an address.
    pub(crate) fn ranges_with_address(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        self.ranges.find_overlapping(address.into())
    }

    /// Returns the ranges that a node's subnet routes overlap, ascending.
    pub(super) fn ranges_routed_by(&self, node: &PolicyNode) -> Vec<u32> {
        let mut found = Vec::new();
        for route in node.subnet_routes() {
            found.extend(self.ranges_overlapping(IpRange::from(*route)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the ranges that overlap this one.
    pub(super) fn ranges_overlapping(&self, range: IpRange) -> impl Iterator<Item = u32> {
        self.ranges.find_overlapping(range)
    }
}
