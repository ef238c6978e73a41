//! Audit entries for changes that nodes make of themselves: at most one a minute for each node. It holds everything that
//! has changed since the entry before.

use bowline_db::{ChangeLog, Mutation, from_micros, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use crate::{
    actors::{REGISTRY_ACTOR, machine_actor},
    domain::{difference, pace::AUDITED_EVERY},
    error::RegistryError,
    fields::read_tailnet_id,
    store::{
        adoptions::{self, AdoptionRow},
        nodes,
    },
};

/// Audits a change that a node made of itself, or defers it while the last entry is younger than a minute. The caller
/// writes the row.
pub fn audit_own_change(
    mutation: &mut Mutation,
    row: &mut AdoptionRow,
    before: &Node,
    after: &Node,
) {
    if before == after {
        return;
    }
    let now = mutation.now();
    // A node without an entry has 0 there, which is long ago.
    let free_at = from_micros(row.audited_at).map_or(now, |last| last + AUDITED_EVERY);
    if row.audit_due.is_some() {
        return;
    }
    // A clock that was set back must not defer an entry for longer.
    if free_at <= now || free_at > now + AUDITED_EVERY {
        write_entry(mutation, before, after);
        row.audited_at = to_micros(now);
    } else {
        row.audit_due = Some(to_micros(free_at));
        row.audited_node = Some(before.clone());
    }
}

/// Audits a node's deferred changes now, before somebody else changes the node.
pub async fn audit_deferred_change(
    mutation: &mut Mutation,
    node: &Node,
) -> Result<(), RegistryError> {
    let Some(mut row) = adoptions::by_node(mutation.connection(), node.id).await? else {
        return Ok(());
    };
    let Some(before) = row.audited_node.take() else {
        return Ok(());
    };
    write_entry(mutation, &before, node);
    row.audit_due = None;
    row.audited_at = to_micros(mutation.now());
    adoptions::put_row(mutation.connection(), &row).await?;
    Ok(())
}

fn write_entry(mutation: &mut Mutation, before: &Node, after: &Node) {
    let (action, detail) = difference::describe_own_change(before, after);
    let actor = machine_actor(&after.machine_key);
    mutation.record_audit_of(actor, action, after.id.to_string(), &detail);
}

/// Audits the changes that were deferred for long enough.
pub async fn audit_deferred_changes(
    log: &ChangeLog,
    now: DateTime<Utc>,
) -> Result<(), RegistryError> {
    for due in adoptions::list_due_audits(log.database().reader(), now).await? {
        let tailnet = read_tailnet_id(due.tailnet_id)?;
        log.mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                match nodes::by_id(on, due.tailnet_id, due.node_id).await? {
                    Some(node) => audit_deferred_change(mutation, &node).await,
                    None => Ok(()),
                }
            })
        })
        .await?;
    }
    Ok(())
}
