//! What makes a class, and what a rule means between two of them.

use std::{collections::BTreeSet, net::IpAddr};

use bowline_ip_set::{IpRange, IpSet, prefix_text};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use super::output::{Address, Destination, Visible};
use crate::{
    inventory::{Node, User},
    policy::{Policy, Rule},
    selector::Selector,
};

/// What the policy can tell about a node: nodes with the same are one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassKey {
    /// The selectors of the policy that select it.
    pub(super) selectors: BTreeSet<Selector>,
    /// Its user, where `autogroup:self` matters.
    pub(super) user: Option<u64>,
    /// Its usable routes, exit routes included.
    pub(super) routes: BTreeSet<IpNet>,
}

impl ClassKey {
    pub(super) fn new(
        policy: &Policy,
        selectors: &BTreeSet<Selector>,
        has_own_rules: bool,
        node: &Node,
        user: Option<&User>,
    ) -> Self {
        let user = user.filter(|_| node.tags.is_empty());
        let selected = selectors
            .iter()
            .filter(|selector| selects(policy, selector, node, user));
        Self {
            selectors: selected.cloned().collect(),
            user: user.filter(|_| has_own_rules).map(|user| user.id),
            routes: node.usable_routes.iter().copied().collect(),
        }
    }

    /// Returns the class's number: a hash of what makes it, the same on every replica.
    pub(super) fn id(&self) -> u64 {
        hash("class", &format!("{self:?}"))
    }

    fn is_exit(&self) -> bool {
        self.routes.iter().any(|route| route.prefix_len() == 0)
    }

    pub(super) fn subnet_routes(&self) -> impl Iterator<Item = &IpNet> {
        self.routes.iter().filter(|route| route.prefix_len() != 0)
    }

    fn routes_overlap(&self, prefix: &IpNet) -> bool {
        let range = IpRange::from(*prefix);
        self.subnet_routes()
            .any(|route| IpRange::from(*route).overlaps(&range))
    }

    /// Says whether a rule's sources contain the class's nodes.
    fn is_source(&self, rule: &Rule) -> bool {
        rule.sources.iter().any(|source| match source {
            Selector::Any => true,
            Selector::Prefix(prefix) => {
                self.selectors.contains(source) || self.routes_overlap(prefix)
            }
            _ => self.selectors.contains(source),
        })
    }

    /// Says whether a rule's destination contains the class's nodes, or what they route.
    fn is_destination(&self, rule: &Rule) -> bool {
        match &rule.destination {
            Selector::Any => true,
            Selector::Own => false,
            Selector::Internet => self.is_exit(),
            Selector::Prefix(prefix) => {
                self.selectors.contains(&rule.destination)
                    || self.routes_overlap(prefix)
                    || (prefix.prefix_len() == 0 && self.is_exit())
            }
            other => self.selectors.contains(other),
        }
    }

    /// Says whether a rule lets this class reach the other.
    fn reaches(&self, other: &Self, rule: &Rule) -> bool {
        if rule.destination == Selector::Own {
            return self.user.is_some() && self.user == other.user && self.is_source(rule);
        }
        self.is_source(rule) && other.is_destination(rule)
    }

    /// Returns how this class sees the other (policy reference section 13), when a rule lets either reach the other.
    pub(super) fn sees(&self, other: &Self, rules: &[Rule]) -> Option<Visible> {
        let peers = rules
            .iter()
            .any(|rule| self.reaches(other, rule) || other.reaches(self, rule));
        peers.then(|| Visible {
            routes: other
                .subnet_routes()
                .filter(|route| self.routes.contains(route) || self.may_use(route, rules))
                .copied()
                .collect(),
            exit_routes: other.is_exit()
                && rules
                    .iter()
                    .any(|rule| self.is_source(rule) && covers_internet(rule)),
        })
    }

    /// Says whether a rule connects the class with a subnet, in either direction.
    fn may_use(&self, route: &IpNet, rules: &[Rule]) -> bool {
        let range = IpRange::from(*route);
        let overlaps = |selector: &Selector| match selector {
            Selector::Any => true,
            Selector::Prefix(prefix) => IpRange::from(*prefix).overlaps(&range),
            _ => false,
        };
        rules.iter().any(|rule| {
            (self.is_source(rule) && overlaps(&rule.destination))
                || (rule.sources.iter().any(overlaps) && self.is_destination(rule))
        })
    }

    /// Returns the destinations of a rule that concern the class's nodes (policy reference section 8).
    pub(super) fn destinations(&self, rule: &Rule) -> Vec<Destination> {
        let addresses = match &rule.destination {
            Selector::Any => vec![Address::Literal("*".to_owned())],
            Selector::Own => match self.user {
                Some(_) => vec![Address::Own],
                None => Vec::new(),
            },
            Selector::Internet if self.is_exit() => INTERNET
                .iter()
                .map(|text| Address::Literal((*text).to_owned()))
                .collect(),
            Selector::Prefix(prefix) => {
                let public = internet();
                let through_exit = self.is_exit() && public.covers(&IpRange::from(*prefix));
                let kept = self.selectors.contains(&rule.destination)
                    || self.routes_overlap(prefix)
                    || through_exit;
                if kept {
                    vec![Address::Literal(prefix_text(prefix))]
                } else {
                    Vec::new()
                }
            }
            other if self.selectors.contains(other) => vec![Address::Own],
            _ => Vec::new(),
        };
        let ports = |address: &Address| {
            let address = address.clone();
            rule.ports.iter().map(move |ports| Destination {
                address: address.clone(),
                ports: *ports,
            })
        };
        addresses.iter().flat_map(ports).collect()
    }
}

/// Says whether a selector selects a node by who it is or which addresses it has.
pub(super) fn selects(
    policy: &Policy,
    selector: &Selector,
    node: &Node,
    user: Option<&User>,
) -> bool {
    match selector {
        Selector::Any => true,
        Selector::Tag(tag) => node.tags.contains(tag),
        Selector::Tagged => !node.tags.is_empty(),
        Selector::Own | Selector::Internet => false,
        Selector::Prefix(prefix) => {
            let ipv4 = node.ipv4.map(IpAddr::from);
            let ipv6 = node.ipv6.map(IpAddr::from);
            ipv4.into_iter()
                .chain(ipv6)
                .any(|address| prefix.contains(&address))
        }
        other => node.tags.is_empty() && user.is_some_and(|user| policy.selects_user(other, user)),
    }
}

/// Public addresses, as the wire has them (policy reference section 4.4).
const INTERNET: [&str; 7] = [
    "0.0.0.0-9.255.255.255",
    "11.0.0.0-100.63.255.255",
    "100.128.0.0-169.253.255.255",
    "169.255.0.0-172.15.255.255",
    "172.32.0.0-192.167.255.255",
    "192.169.0.0-255.255.255.255",
    "2000::-3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

fn internet() -> IpSet {
    let range = |text: &&str| {
        let (low, high) = text.split_once('-')?;
        IpRange::new(low.parse().ok()?, high.parse().ok()?)
    };
    INTERNET.iter().filter_map(range).collect()
}

fn covers_internet(rule: &Rule) -> bool {
    match &rule.destination {
        Selector::Any | Selector::Internet => true,
        Selector::Prefix(prefix) => prefix.prefix_len() == 0,
        _ => false,
    }
}

/// Returns a number that stands for a text on every replica.
pub(super) fn hash(kind: &str, text: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(text)
        .finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}
