//! An entry as shown.

use bowline_proto::{audit::v1::AuditEntry, time::from_timestamp};
use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::Value;

use super::trails::AuditOwner;
use crate::{
    failure::{Failure, require_field},
    output::Row,
};

/// An entry as shown.
#[derive(Debug, Serialize)]
pub(super) struct AuditRow {
    pub(super) time: String,
    owner: &'static str,
    sequence: u64,
    actor: String,
    /// What the actor has shown: the kind and the id of a token. A certificate, socket or machine is the actor itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    action: String,
    object: String,
    detail: Value,
    hash: String,
}

impl AuditRow {
    pub(super) fn new(owner: AuditOwner, entry: AuditEntry) -> Result<Self, Failure> {
        let time = require_field(entry.time.and_then(from_timestamp), "time of an entry")?;
        let detail = serde_json::from_str(&entry.detail).unwrap_or(Value::String(entry.detail));
        let source = detail.get("source").and_then(Value::as_str);
        Ok(Self {
            // Exact: it is what continues a list.
            time: time.to_rfc3339_opts(SecondsFormat::Micros, true),
            owner: owner.name(),
            sequence: entry.sequence,
            credential: credential_of(&entry.actor),
            source: source.map(str::to_owned),
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
            detail,
            hash: encode_hex(&entry.hash),
        })
    }
}

/// Returns the credential in an actor's name: `user:NAME/api-key:ID` has one, and a program's `oauth-client:ID` is one.
fn credential_of(actor: &str) -> Option<String> {
    let credential = match actor.strip_prefix("user:") {
        Some(user) => user.rsplit_once('/')?.1,
        None if actor.starts_with("oauth-client:") => actor,
        None => return None,
    };
    Some(credential.to_owned())
}

impl Row for AuditRow {
    const HEADS: &'static [&'static str] = &["time", "actor", "action", "object", "detail"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.time.clone(),
            // Devices name themselves: nothing in a name may move the cursor.
            self.actor.escape_debug().to_string(),
            self.action.clone(),
            self.object.escape_debug().to_string(),
            self.detail.to_string(),
        ]
    }
}

pub(super) fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
