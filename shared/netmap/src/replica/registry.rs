//! What the registry says of nodes, and what this gateway's own clients report before the registry says it.

use std::{collections::BTreeMap, sync::Arc};

use bowline_ids::NodeId;
use bowline_proto::key_registry::v1::{
    ClientReport, Node, RegistryChange, RegistryChanges, RegistrySnapshot, SoftState, TailnetLock,
    registry_change,
};

use super::{
    RegistryNode, Replica,
    soft_state::{reduce_report, reduce_soft_state},
};

/// What a client of this gateway reported, shown until the registry's own row has it.
#[derive(Debug)]
pub(super) struct PendingReport {
    pub(super) report: ClientReport,
    /// The soft revision whose row has it, once the registry has taken it.
    applied_at: Option<u64>,
}

impl Replica {
    /// Applies a registry snapshot.
    pub fn apply_registry_snapshot(&mut self, chunks: Vec<RegistrySnapshot>) {
        let mut present = BTreeMap::new();
        self.unmatched.clear();
        let mut lock = None;
        for chunk in chunks {
            self.registry_revision = chunk.revision;
            lock = lock.or(chunk.lock);
            self.reports.retain(|_, reported| {
                let applied = reported.applied_at;
                applied.is_none_or(|applied| applied > chunk.soft_revision)
            });
            for (node, soft) in chunk.nodes.into_iter().zip(chunk.soft) {
                if let Ok(id) = NodeId::try_from(node.id) {
                    present.insert(id, (node, soft));
                }
            }
        }
        let gone: Vec<_> = self
            .registry_nodes
            .keys()
            .copied()
            .filter(|id| !present.contains_key(id))
            .collect();
        for id in gone {
            self.remove_node(id);
        }
        self.set_lock(lock.unwrap_or_default());
        let revision = self.registry_revision;
        for (id, (node, soft)) in present {
            self.put_node(id, node, revision);
            // It replaces what was known, also where that has a higher number: the owner was put back.
            self.set_soft(id, soft);
        }
    }

    /// Applies an answer of the registry.
    pub fn apply_registry_answer(&mut self, answer: RegistryChanges) {
        // The row of a node that the entries take away goes with it.
        self.apply_soft_states(answer.soft);
        self.apply_registry_changes(answer.entries, answer.from_revision);
    }

    /// Applies entries of the registry log after revision `from`.
    pub fn apply_registry_changes(&mut self, entries: Vec<RegistryChange>, from: u64) {
        for (revision, entry) in (from + 1..).zip(entries) {
            self.registry_revision = revision;
            match entry.change {
                Some(registry_change::Change::Node(node)) => {
                    if let Ok(id) = NodeId::try_from(node.id) {
                        self.put_node(id, node, revision);
                    }
                }
                Some(registry_change::Change::Lock(lock)) => self.set_lock(lock),
                Some(registry_change::Change::NodeDeleted(id)) => {
                    if let Ok(id) = NodeId::try_from(id) {
                        self.remove_node(id);
                    }
                }
                None => {}
            }
        }
    }

    /// Applies soft states.
    pub fn apply_soft_states(&mut self, states: Vec<SoftState>) {
        for state in states {
            if let Ok(id) = NodeId::try_from(state.node_id) {
                self.put_soft(id, state);
            }
        }
    }

    /// Shows what a client of this gateway reports before the registry has it.
    pub fn apply_report(&mut self, node: NodeId, report: ClientReport) {
        let mut report = reduce_report(report);
        let before = self.reports.remove(&node);
        report.host = report.host.or_else(|| before?.report.host);
        let applied_at = None;
        self.reports
            .insert(node, PendingReport { report, applied_at });
        self.update_shown(node);
    }

    /// Notes what the registry made of the reports of a node up to `sequence`: the newest counts from the soft
    /// revision `applied_at` on, or something newer counts already.
    pub fn note_report_accepted(&mut self, node: NodeId, sequence: u64, applied_at: Option<u64>) {
        let Some(reported) = self.reports.get_mut(&node) else {
            return;
        };
        if reported.report.sequence > sequence {
            return;
        }
        let known = self.registry_nodes.get(&node);
        let has = known.map_or(0, |known| known.soft.soft_revision);
        match applied_at.filter(|applied_at| has < *applied_at) {
            // The registry's row comes in a moment.
            Some(_) => reported.applied_at = applied_at,
            None => {
                self.reports.remove(&node);
                self.update_shown(node);
            }
        }
    }

    fn put_node(&mut self, id: NodeId, node: Node, revision: u64) {
        let owner = self.registry_nodes.get(&id).map(|known| known.node.user_id);
        if owner != Some(node.user_id) {
            self.remove_from_owner(id);
            self.nodes_of_user
                .entry(node.user_id)
                .or_default()
                .insert(id);
        }
        match self.registry_nodes.get_mut(&id) {
            Some(known) => {
                if known.node.judged_facts() != node.judged_facts() {
                    known.judged_at = revision;
                }
                known.node = Arc::new(node);
            }
            None => {
                let unreported = SoftState {
                    node_id: id.get(),
                    ..SoftState::default()
                };
                let known = RegistryNode {
                    node: Arc::new(node),
                    soft: Arc::new(unreported),
                    judged_at: revision,
                };
                self.registry_nodes.insert(id, known);
                if let Some(soft) = self.unmatched.take(id) {
                    self.put_soft(id, soft);
                }
            }
        }
        self.update_shown(id);
    }

    fn set_lock(&mut self, lock: TailnetLock) {
        if self.view.lock != lock {
            self.view.lock = lock;
            self.changes.lock = true;
        }
    }

    fn put_soft(&mut self, id: NodeId, soft: SoftState) {
        match self.registry_nodes.get(&id) {
            Some(known) if soft.soft_revision < known.soft.soft_revision => {}
            Some(_) => self.set_soft(id, soft),
            None => self.unmatched.put(reduce_soft_state(soft)),
        }
    }

    fn set_soft(&mut self, id: NodeId, soft: SoftState) {
        let reported = self.reports.get(&id);
        let applied_at = reported.and_then(|reported| reported.applied_at);
        if applied_at.is_some_and(|applied_at| applied_at <= soft.soft_revision) {
            self.reports.remove(&id);
        }
        if let Some(known) = self.registry_nodes.get_mut(&id) {
            let soft = reduce_soft_state(soft);
            if *known.soft != soft {
                known.soft = Arc::new(soft);
            }
        }
        self.update_shown(id);
    }

    fn remove_from_owner(&mut self, id: NodeId) {
        let Some(user) = self.registry_nodes.get(&id).map(|known| known.node.user_id) else {
            return;
        };
        if let Some(nodes) = self.nodes_of_user.get_mut(&user) {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.nodes_of_user.remove(&user);
            }
        }
    }

    fn remove_node(&mut self, id: NodeId) {
        self.remove_from_owner(id);
        self.registry_nodes.remove(&id);
        self.unmatched.take(id);
        self.reports.remove(&id);
        self.memberships.remove(&id);
        self.waiting.remove(&id);
        self.set_shown(id, None);
    }
}
