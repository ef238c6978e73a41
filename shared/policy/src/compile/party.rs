//! Parties: the selectors of a policy, each once, and which of them a node belongs to.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use bowline_ip_set::IpRange;

use super::{hash, range_index::RangeIndex};
use crate::{
    inventory::{Node, Role, User},
    policy::{Party, Policy},
    posture::{Attributes, Posture},
    selector::Selector,
};

/// The parties of some rules, numbered from zero.
///
/// `*` without a posture is no party: it selects everything, so rules carry it as a flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parties {
    all: Vec<Party>,
    numbers: HashMap<Party, u32>,
    /// What stands for each party on every replica.
    pub(crate) ids: Vec<u64>,
    users: HashMap<String, Vec<u32>>,
    domains: HashMap<String, Vec<u32>>,
    /// By name, for the groups of identity providers that the policy does not define.
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

impl Parties {
    /// Returns a party's number, a new one if it has none.
    pub(super) fn intern(&mut self, party: &Party) -> u32 {
        if let Some(number) = self.numbers.get(party) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let mut parts = vec![party.selector.to_string()];
        parts.extend(party.postures.iter().cloned());
        self.ids.push(hash("party", parts));
        self.numbers.insert(party.clone(), number);
        self.all.push(party.clone());
        number
    }

    /// Makes the tables that find a node's parties; after this nothing is added.
    pub(super) fn index(&mut self, policy: &Policy) {
        let mut ranges = Vec::new();
        for (number, party) in self.all.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let slot = match &party.selector {
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
            slot.push(number);
        }
        self.ranges = ranges.into_iter().collect();
        self.postures.clone_from(&policy.postures);
    }

    /// Returns a party.
    pub(crate) fn get(&self, number: u32) -> &Party {
        &self.all[number as usize]
    }

    /// Returns the parties a node belongs to by who it is or which addresses it has, ascending.
    pub(crate) fn selected(&self, node: &Node, user: Option<&User>) -> Vec<u32> {
        let mut found = self.identified(node, user, &node.attributes);
        found.extend(node.addresses().flat_map(|address| self.having(address)));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the parties a node belongs to by who it is, were it a device with these attributes; in no order, some
    /// of them twice.
    pub(crate) fn identified(
        &self,
        node: &Node,
        user: Option<&User>,
        attributes: &Attributes,
    ) -> Vec<u32> {
        let mut found = self.any.clone();
        if node.tags.is_empty() {
            if let Some(user) = user {
                self.select_user(user, &mut found);
            }
        } else {
            found.extend(&self.tagged);
            let tags = node.tags.iter().filter_map(|tag| self.tags.get(tag));
            found.extend(tags.flatten());
        }
        found.retain(|number| self.meets(*number, attributes));
        found
    }

    /// Returns the parties that are ranges with an address.
    pub(crate) fn having(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        self.ranges.overlapping(address.into())
    }

    fn select_user(&self, user: &User, found: &mut Vec<u32>) {
        let is_member = user.role != Role::Outsider;
        found.extend(self.member.iter().filter(|_| is_member));
        let login = &user.login_name;
        found.extend(self.users.get(login).into_iter().flatten());
        found.extend(self.members.get(login).into_iter().flatten());
        let domain = login.rsplit_once('@').filter(|_| is_member);
        let domain = domain.map(|(_, domain)| domain);
        found.extend(
            domain
                .and_then(|domain| self.domains.get(domain))
                .into_iter()
                .flatten(),
        );
        let groups = user.groups.iter().filter_map(|name| self.groups.get(name));
        found.extend(groups.flatten());
        let roles = self.roles.iter().filter(|(role, _)| user.role.is_in(*role));
        found.extend(roles.map(|(_, number)| number));
    }

    /// Says whether a device meets one of the postures that a party asks for.
    fn meets(&self, number: u32, attributes: &Attributes) -> bool {
        let wanted = &self.get(number).postures;
        wanted.is_empty()
            || wanted
                .iter()
                .filter_map(|name| self.postures.get(name))
                .any(|posture| posture.holds(attributes))
    }

    /// Returns the ranges that a node's subnet routes overlap, ascending.
    pub(super) fn overlapped(&self, node: &Node) -> Vec<u32> {
        let routes = node.subnet_routes().map(|route| IpRange::from(*route));
        let mut found: Vec<_> = routes
            .flat_map(|route| self.ranges.overlapping(route))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the parties that are ranges overlapping this one.
    pub(super) fn overlapping(&self, range: IpRange) -> impl Iterator<Item = u32> {
        self.ranges.overlapping(range)
    }
}
