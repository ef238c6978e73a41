//! What the audit trail says of the changes that nodes make of themselves: at most one entry a minute for each node,
//! which tells all that changed since the one before.

use bowline_db::{Mutation, from_micros, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use crate::{
    KeyRegistry,
    domain::{difference, pace::AUDITED_EVERY},
    error::RegistryError,
    registration::{machine_actor, read_tailnet_id},
    store::{
        adoptions::{self, AdoptionRow},
        nodes,
    },
};

/// Puts a change that a node made of itself on record, now or with those that follow within a minute of the last entry.
/// The caller writes the row.
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
    let free_at = from_micros(row.audited_at).unwrap_or_default() + AUDITED_EVERY;
    if row.audit_due.is_some() {
        return;
    }
    // A clock that was set back holds nothing back for longer.
    if free_at <= now || free_at > now + AUDITED_EVERY {
        write_entry(mutation, before, after);
        row.audited_at = to_micros(now);
    } else {
        row.audit_due = Some(to_micros(free_at));
        row.audited_node = Some(before.clone());
    }
}

/// Puts on record what was held back of a node's own changes, before others change it.
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

impl KeyRegistry {
    /// Puts on record what was held back long enough.
    pub(crate) async fn audit_deferred_changes(
        &self,
        now: DateTime<Utc>,
    ) -> Result<(), RegistryError> {
        let reader = self.log.database().reader();
        for due in adoptions::list_due_audits(reader, now).await? {
            self.log
                .mutate(
                    read_tailnet_id(due.tailnet_id)?,
                    "service:key-registry",
                    move |mutation| {
                        Box::pin(async move {
                            let found =
                                nodes::by_id(mutation.connection(), due.tailnet_id, due.node_id)
                                    .await?;
                            match found {
                                Some(node) => audit_deferred_change(mutation, &node).await,
                                None => Ok(()),
                            }
                        })
                    },
                )
                .await?;
        }
        Ok(())
    }
}
