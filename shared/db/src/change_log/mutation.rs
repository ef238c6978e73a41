//! What a mutation sees and leaves behind.

use std::net::IpAddr;

use bowline_ids::{Revision, TailnetId};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{Any, AnyConnection, Transaction};

use crate::audit::PendingAudit;

/// One change of one tailnet, inside its savepoint.
#[derive(Debug)]
pub struct Mutation {
    pub(super) transaction: Transaction<'static, Any>,
    pub(super) now: DateTime<Utc>,
    pub(super) tailnet: TailnetId,
    /// The tailnet's revision before this change.
    pub(super) revision: Revision,
    pub(super) actor: String,
    /// The address that asked for it, where that is known.
    pub(super) source: Option<IpAddr>,
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) audits: Vec<PendingAudit>,
}

impl Mutation {
    /// Returns the connection to query.
    pub fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// Returns the database's time, taken under the counter lock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Returns the tailnet that changes.
    #[must_use]
    pub fn tailnet(&self) -> TailnetId {
        self.tailnet
    }

    /// Returns the revision after the entries that were recorded so far.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision::new(self.revision.get() + self.entries.len() as u64)
    }

    /// Appends a change entry; entries get consecutive revisions in the order recorded.
    pub fn record_entry(&mut self, entry: &impl prost::Message) {
        self.entries.push(entry.encode_to_vec());
    }

    /// Appends an audit row: the action as `noun.verb`, what it was done to, and more as JSON. The address that asked for it is
    /// added as `source`, unless the detail says another.
    pub fn record_audit(
        &mut self,
        action: impl Into<String>,
        object: impl Into<String>,
        detail: &Value,
    ) {
        let mut detail = detail.clone();
        if let (Some(source), Value::Object(members)) = (self.source, &mut detail) {
            members
                .entry("source")
                .or_insert_with(|| json!(source.to_string()));
        }
        self.record_audit_of(self.actor.clone(), action, object, &detail);
    }

    /// Appends an audit row of what another than the mutation's own actor did, earlier or elsewhere.
    pub fn record_audit_of(
        &mut self,
        actor: impl Into<String>,
        action: impl Into<String>,
        object: impl Into<String>,
        detail: &Value,
    ) {
        self.audits.push(PendingAudit {
            actor: actor.into(),
            action: action.into(),
            object: object.into(),
            detail: detail.to_string(),
        });
    }
}
