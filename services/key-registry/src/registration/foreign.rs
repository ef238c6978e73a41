//! The audit trail of machines that name another machine's node key.

use std::{collections::BTreeMap, time::Duration};

use bowline_db::ChangeLog;
use bowline_proto::key_registry::v1::{Node, RegisterRequest};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{actors::machine_actor, error::RegistryError, fields::read_tailnet_id};

/// How long after an entry there is no other of the same node.
const AUDIT_INTERVAL: Duration = Duration::from_secs(60);
/// The most nodes remembered; beyond them nothing is audited until the oldest entries are over.
const MOST_NODES: usize = 10_000;
/// While more mutations of the tailnet wait than this, they go first and nothing is audited.
const MOST_WAITING: usize = 64;

/// Audits that a node's key was named by another machine, once in a while for each node: machine keys cost nothing, and
/// the node's tailnet has better things to do.
#[derive(Debug)]
pub(super) struct ForeignKeyAudits {
    log: ChangeLog,
    turns: AuditTurns,
}

impl ForeignKeyAudits {
    pub(super) fn new(log: ChangeLog) -> Self {
        let turns = AuditTurns::default();
        Self { log, turns }
    }

    /// Audits that a request named the key of a node of another machine, if it is that node's turn.
    pub(super) async fn audit_request(&self, node: &Node, request: &RegisterRequest) {
        let Ok(tailnet) = read_tailnet_id(node.tailnet_id) else {
            return;
        };
        let waiting = self.log.count_waiting(tailnet);
        if !self.turns.take_turn(node.id, waiting, Instant::now()) {
            return;
        }
        let actor = machine_actor(&request.machine_key);
        let (id, source) = (node.id, request.source_address.clone());
        tracing::warn!(
            node = id,
            actor,
            source,
            "a machine named another machine's node key"
        );
        let audited = self.log.mutate(tailnet, actor, move |mutation| {
            let detail = json!({ "source": source });
            mutation.record_audit("node.foreign_key", id.to_string(), &detail);
            Box::pin(async { Ok::<_, RegistryError>(()) })
        });
        if let Err(error) = audited.await {
            tracing::warn!(node = id, %error, "this could not be put on record");
        }
    }
}

/// The nodes whose keys were named by other machines in the last minute.
#[derive(Debug, Default)]
struct AuditTurns(Mutex<BTreeMap<u64, Instant>>);

impl AuditTurns {
    /// Takes a node's turn to have an entry, while `waiting` mutations wait; says whether it has one.
    fn take_turn(&self, node: u64, waiting: usize, now: Instant) -> bool {
        let mut audited = self.0.lock();
        let is_recent = |at: &Instant| now.duration_since(*at) < AUDIT_INTERVAL;
        if audited.len() >= MOST_NODES {
            audited.retain(|_, at| is_recent(at));
        }
        let has_entry = audited.get(&node).is_some_and(is_recent);
        if has_entry || waiting > MOST_WAITING || audited.len() >= MOST_NODES {
            return false;
        }
        audited.insert(node, now);
        true
    }
}

#[cfg(test)]
mod tests;
