//! Source lists: the addresses behind the sources of rules, kept while nodes come and go.

use std::{collections::BTreeSet, net::IpAddr};

use bowline_ip_set::prefix_text;
use ipnet::IpNet;

use super::{
    class::{hash, selects},
    output::SourceList,
};
use crate::{
    inventory::{Node, User},
    policy::Policy,
    selector::Selector,
};

/// What feeds a list: selectors, and for `autogroup:self` the user whose devices they are reduced to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListKey {
    pub(super) sources: BTreeSet<Selector>,
    pub(super) user: Option<u64>,
}

/// The addresses `*` stands for as a source, besides the tailnet's routes (policy reference section 4.3).
const ANY: [&str; 3] = [
    "100.64.0.0-100.115.91.255",
    "100.115.94.0-100.127.255.255",
    "fd7a:115c:a1e0::/48",
];

impl ListKey {
    /// Returns the list's number: the same while its members change.
    pub(super) fn id(&self) -> u64 {
        hash("source list", &format!("{self:?}"))
    }

    /// Says whether a node's coming or going can change the list.
    pub(super) fn is_fed_by(&self, policy: &Policy, node: &Node, user: Option<&User>) -> bool {
        if let Some(wanted) = self.user {
            return node.tags.is_empty() && node.user == wanted;
        }
        self.sources.iter().any(|source| match source {
            // `*` is a fixed set but for the routes.
            Selector::Any => node.subnet_routes().next().is_some(),
            Selector::Prefix(_) => false,
            other => selects(policy, other, node, user),
        })
    }

    /// Returns the list's elements.
    pub(super) fn elements<'n>(
        &self,
        policy: &Policy,
        nodes: impl Iterator<Item = (&'n Node, Option<&'n User>)>,
    ) -> SourceList {
        let mut elements = BTreeSet::new();
        let is_any = self.sources.contains(&Selector::Any) && self.user.is_none();
        if is_any {
            elements.extend(ANY.map(str::to_owned));
        }
        for source in &self.sources {
            if let Selector::Prefix(prefix) = source {
                elements.insert(prefix_text(prefix));
            }
        }
        let identities: Vec<_> = self
            .sources
            .iter()
            .filter(|source| !matches!(source, Selector::Prefix(_)))
            .filter(|source| self.user.is_some() || **source != Selector::Any)
            .collect();
        for (node, user) in nodes {
            if is_any {
                elements.extend(node.subnet_routes().map(IpNet::to_string));
            }
            let own = self
                .user
                .is_none_or(|wanted| node.tags.is_empty() && node.user == wanted);
            if own
                && identities
                    .iter()
                    .any(|source| selects(policy, source, node, user))
            {
                let ipv4 = node.ipv4.map(IpAddr::from);
                let ipv6 = node.ipv6.map(IpAddr::from);
                elements.extend(
                    ipv4.into_iter()
                        .chain(ipv6)
                        .map(|address| address.to_string()),
                );
            }
        }
        SourceList(elements)
    }
}
