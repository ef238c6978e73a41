//! What the registry says of nodes, and what this gateway's own clients report before the registry says it.

use std::{collections::BTreeMap, sync::Arc};

use bowline_proto::key_registry::v1::{
    ClientReport, Node, RegistryChange, RegistrySnapshot, SoftState, registry_change,
};

use super::{Known, Replica};
use crate::tailnet::soft_state::{overlay, told, told_report};

impl Replica {
    /// Applies a registry snapshot.
    pub fn registry_snapshot(&mut self, chunks: Vec<RegistrySnapshot>) {
        let mut present = BTreeMap::new();
        for chunk in chunks {
            self.registry_revision = chunk.revision;
            for (node, soft) in chunk.nodes.into_iter().zip(chunk.soft) {
                present.insert(node.id, (node, soft));
            }
        }
        let gone: Vec<_> = self
            .known
            .keys()
            .copied()
            .filter(|id| !present.contains_key(id))
            .collect();
        for id in gone {
            self.remove_node(id);
        }
        let revision = self.registry_revision;
        for (id, (node, soft)) in present {
            self.put_node(node, revision);
            self.put_soft(id, soft);
        }
    }

    /// Applies entries of the registry log after revision `from`.
    pub fn registry_changes(&mut self, entries: Vec<RegistryChange>, from: u64) {
        for (revision, entry) in (from + 1..).zip(entries) {
            self.registry_revision = revision;
            match entry.change {
                Some(registry_change::Change::Node(node)) => self.put_node(node, revision),
                Some(registry_change::Change::NodeDeleted(id)) => self.remove_node(id),
                None => {}
            }
        }
    }

    /// Applies soft states.
    pub fn soft_states(&mut self, states: Vec<SoftState>) {
        for state in states {
            self.put_soft(state.node_id, state);
        }
    }

    /// Shows what a client of this gateway reports before the registry has it.
    pub fn report(&mut self, node: u64, report: ClientReport) {
        let mut report = told_report(report);
        let before = self.reports.remove(&node);
        report.host = report.host.or_else(|| before?.host);
        self.reports.insert(node, report);
        self.show(node);
    }

    /// Forgets a report the registry has taken, unless the client has sent a newer one.
    pub fn report_taken(&mut self, node: u64, sequence: u64) {
        if self
            .reports
            .get(&node)
            .is_some_and(|report| report.sequence <= sequence)
            && let Some(report) = self.reports.remove(&node)
            && let Some(known) = self.known.get_mut(&node)
        {
            // The registry's own row may come a moment later: it says the same.
            known.soft = Arc::new(overlay(&known.soft, &report));
        }
    }

    fn put_node(&mut self, node: Node, revision: u64) {
        let id = node.id;
        let owner = self.known.get(&id).map(|known| known.node.user_id);
        if owner != Some(node.user_id) {
            self.disown(id);
            self.owned.entry(node.user_id).or_default().insert(id);
        }
        match self.known.get_mut(&id) {
            Some(known) => {
                if judged_differently(&known.node, &node) {
                    known.judged = revision;
                }
                known.node = Arc::new(node);
            }
            None => {
                let soft = Arc::new(SoftState {
                    node_id: id,
                    ..SoftState::default()
                });
                let known = Known {
                    node: Arc::new(node),
                    soft,
                    judged: revision,
                };
                self.known.insert(id, known);
            }
        }
        self.show(id);
    }

    fn put_soft(&mut self, id: u64, soft: SoftState) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        if soft.soft_revision >= known.soft.soft_revision {
            let soft = told(soft);
            if *known.soft != soft {
                known.soft = Arc::new(soft);
                self.show(id);
            }
        }
    }

    fn disown(&mut self, id: u64) {
        let Some(user) = self.known.get(&id).map(|known| known.node.user_id) else {
            return;
        };
        if let Some(nodes) = self.owned.get_mut(&user) {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.owned.remove(&user);
            }
        }
    }

    fn remove_node(&mut self, id: u64) {
        self.disown(id);
        self.known.remove(&id);
        self.reports.remove(&id);
        self.memberships.remove(&id);
        self.waiting.remove(&id);
        self.set_shown(id, None);
    }
}

/// Says whether policy may judge the two differently.
fn judged_differently(before: &Node, now: &Node) -> bool {
    (before.user_id, &before.tags, &before.ipv4, &before.ipv6)
        != (now.user_id, &now.tags, &now.ipv4, &now.ipv6)
        || before.advertised_routes != now.advertised_routes
        || before.approved_routes != now.approved_routes
        || (&before.os, &before.client_version) != (&now.os, &now.client_version)
}
