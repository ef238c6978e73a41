//! Which events an entry of an audit trail is.
//!
//! Every change has an entry, in the same transaction. So no event is lost, and none is made of what did not happen. An event's
//! id is taken from the entry's hash: the same entry gives the same id, however often it is read.

use bowline_db::AuditEntry;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{TEST, event_time};

/// Whose trail an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailOwner {
    /// This service.
    Identity,
    /// The key registry.
    KeyRegistry,
    /// The policy compiler.
    PolicyCompiler,
}

impl TrailOwner {
    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::KeyRegistry => "key-registry",
            Self::PolicyCompiler => "policy-compiler",
        }
    }
}

/// Something that happened, for webhooks.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookEvent {
    /// Tells it from all others.
    pub id: String,
    /// Its type, such as `nodeCreated`.
    pub kind: &'static str,
    /// When it happened.
    pub happened_at: DateTime<Utc>,
    /// As it is sent.
    pub body: Value,
}

/// Returns the event that a test sends.
pub fn test_event(id: String, tailnet: &str, now: DateTime<Utc>) -> WebhookEvent {
    let body = json!({
        "id": id,
        "timestamp": event_time(now),
        "version": 1,
        "type": TEST,
        "tailnet": tailnet,
        "message": "This is a test event",
        "data": null,
    });
    WebhookEvent {
        id,
        kind: TEST,
        happened_at: now,
        body,
    }
}

/// Returns the events that an entry is; `before` are some entries before it, the newest last.
///
/// The registry writes that a rule approves a machine before the entry of the login, and without a name: the event follows those
/// of the login.
pub fn events_of_entry(
    owner: TrailOwner,
    tailnet: &str,
    before: &[AuditEntry],
    entry: &AuditEntry,
) -> Vec<WebhookEvent> {
    if is_approval_by_rule(owner, entry) {
        return Vec::new();
    }
    let mut events = own_events(owner, tailnet, entry);
    if owner == TrailOwner::KeyRegistry && matches!(&*entry.action, "node.register" | "node.rotate")
    {
        let approval = before.iter().rev().find(|before| {
            before.object == entry.object
                && before.time == entry.time
                && is_approval_by_rule(owner, before)
        });
        events.extend(approval.map(|approval| {
            let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
            let data = node_data(entry, &detail);
            to_event(tailnet, approval, (0, "nodeApproved"), data)
        }));
    }
    events
}

fn is_approval_by_rule(owner: TrailOwner, entry: &AuditEntry) -> bool {
    let by_rule = || {
        let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
        detail["by"] == json!("rule")
    };
    owner == TrailOwner::KeyRegistry && entry.action == "node.approve" && by_rule()
}

fn own_events(owner: TrailOwner, tailnet: &str, entry: &AuditEntry) -> Vec<WebhookEvent> {
    let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
    let kinds = match owner {
        TrailOwner::Identity => kinds_of_user(&entry.action, &detail),
        TrailOwner::KeyRegistry => kinds_of_node(&entry.action, &detail),
        TrailOwner::PolicyCompiler if entry.action == "policy.set" => vec!["policyUpdate"],
        TrailOwner::PolicyCompiler => Vec::new(),
    };
    let data = match owner {
        TrailOwner::Identity => user_data(entry, &detail),
        TrailOwner::KeyRegistry => node_data(entry, &detail),
        TrailOwner::PolicyCompiler => policy_data(&detail),
    };
    let kinds = kinds.into_iter().enumerate();
    kinds
        .map(|kind| to_event(tailnet, entry, kind, data.clone()))
        .collect()
}

fn to_event(
    tailnet: &str,
    entry: &AuditEntry,
    (number, kind): (usize, &'static str),
    mut data: Map<String, Value>,
) -> WebhookEvent {
    let hash: String = hex::encode(entry.hash).chars().take(32).collect();
    let id = format!("{hash}-{number}");
    data.insert("actor".to_owned(), json!(entry.actor));
    let body = json!({
        "id": id,
        "timestamp": event_time(entry.time),
        "version": 1,
        "type": kind,
        "tailnet": tailnet,
        "message": message(kind, &data),
        "data": data,
    });
    WebhookEvent {
        id,
        kind,
        happened_at: entry.time,
        body,
    }
}

/// A key can end by many actions.
fn kinds_of_node(action: &str, detail: &Value) -> Vec<&'static str> {
    let mut kinds = kinds_of_action(action, detail);
    let is_told = kinds
        .iter()
        .any(|kind| matches!(*kind, "nodeKeyExpired" | "nodeDeleted"));
    if has_become(detail, "expired", true) && !is_told {
        kinds.push("nodeKeyExpired");
    }
    kinds
}

fn kinds_of_action(action: &str, detail: &Value) -> Vec<&'static str> {
    let is = |field: &str, value: bool| detail[field] == json!(value);
    match action {
        "node.register" => {
            let mut kinds = vec!["nodeCreated"];
            kinds.extend(is("approved", false).then_some("nodeNeedsApproval"));
            kinds.extend(is("awaits_signature", true).then_some("nodeNeedsSignature"));
            kinds
        }
        "node.import" => vec!["nodeCreated"],
        // The signature that a new key lacks is another one than that of the key before.
        "node.rotate" | "node.renew" | "node.await_signature" if !is("awaits_signature", false) => {
            vec!["nodeNeedsSignature"]
        }
        "node.rotate" | "node.renew" if has_become(detail, "awaits_signature", false) => {
            vec!["nodeSigned"]
        }
        "node.sign" if is("waited", true) => vec!["nodeSigned"],
        "node.lock_key" if is("signed", true) => vec!["nodeSigned"],
        // Not where tailnet lock was switched off: nobody has signed anything.
        "node.let_in" if detail["by"] == json!("trusted keys") => vec!["nodeSigned"],
        "node.approve" => vec!["nodeApproved"],
        "node.expiring" => vec!["nodeKeyExpiringInOneDay"],
        "node.logout" if detail["deleted"] == json!(true) => vec!["nodeDeleted"],
        "node.expire" | "node.logout" => vec!["nodeKeyExpired"],
        "node.delete" | "node.abandoned" | "node.orphaned" => vec!["nodeDeleted"],
        _ => Vec::new(),
    }
}

fn kinds_of_user(action: &str, detail: &Value) -> Vec<&'static str> {
    match action {
        "user.create" if detail["after"]["awaits_approval"] == json!(true) => {
            vec!["userCreated", "userNeedsApproval"]
        }
        "user.create" => vec!["userCreated"],
        "user.delete" | "user.merge" => vec!["userDeleted"],
        "user.update" => {
            let mut kinds = Vec::new();
            for (field, value, kind) in [
                ("awaits_approval", true, "userNeedsApproval"),
                ("awaits_approval", false, "userApproved"),
                ("suspended", true, "userSuspended"),
                ("suspended", false, "userRestored"),
            ] {
                if has_become(detail, field, value) {
                    kinds.push(kind);
                }
            }
            // Who waits for approval is suspended as well; that is one event, and not two.
            if kinds.contains(&"userNeedsApproval") || kinds.contains(&"userApproved") {
                kinds.retain(|kind| !matches!(*kind, "userSuspended" | "userRestored"));
            }
            if detail["after"].get("role").is_some() {
                kinds.push("userRoleUpdated");
            }
            kinds
        }
        _ => Vec::new(),
    }
}

fn has_become(detail: &Value, field: &str, value: bool) -> bool {
    detail["after"][field] == json!(value) && detail["before"][field] == json!(!value)
}

fn node_data(entry: &AuditEntry, detail: &Value) -> Map<String, Value> {
    let name = [&detail["name"], &detail["after"]["name"]];
    let name = name.into_iter().find_map(Value::as_str);
    let mut data = Map::new();
    data.insert("nodeID".to_owned(), json!(entry.object));
    data.insert("deviceName".to_owned(), json!(name.unwrap_or_default()));
    if let Some(end) = detail.get("expires_at") {
        data.insert("expiration".to_owned(), end.clone());
    }
    data
}

fn user_data(entry: &AuditEntry, detail: &Value) -> Map<String, Value> {
    let mut data = Map::new();
    let gone = detail["from"]["before"]["login_name"].as_str();
    data.insert("user".to_owned(), json!(gone.unwrap_or(&entry.object)));
    if let (Some(old), Some(new)) = (detail["before"].get("role"), detail["after"].get("role")) {
        data.insert("oldRoles".to_owned(), json!([old]));
        data.insert("newRoles".to_owned(), json!([new]));
    }
    data
}

fn policy_data(detail: &Value) -> Map<String, Value> {
    let mut data = Map::new();
    for (name, side) in [("oldVersion", "before"), ("newVersion", "after")] {
        data.insert(name.to_owned(), detail[side]["version"].clone());
    }
    data
}

fn message(kind: &str, data: &Map<String, Value>) -> String {
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    let node = match text("deviceName") {
        "" => text("nodeID"),
        name => name,
    };
    let user = text("user");
    match kind {
        "nodeCreated" => format!("Node {node} was created"),
        "nodeNeedsApproval" => format!("Node {node} needs approval"),
        "nodeApproved" => format!("Node {node} was approved"),
        "nodeNeedsSignature" => format!("Node {node} needs a signature of tailnet lock"),
        "nodeSigned" => format!("Node {node} was signed"),
        "nodeKeyExpiringInOneDay" => format!("The key of node {node} expires within one day"),
        "nodeKeyExpired" => format!("The key of node {node} has expired"),
        "nodeDeleted" => format!("Node {node} was deleted"),
        "policyUpdate" => "The tailnet policy file was updated".to_owned(),
        "userCreated" => format!("User {user} was created"),
        "userNeedsApproval" => format!("User {user} needs approval"),
        "userApproved" => format!("User {user} was approved"),
        "userSuspended" => format!("User {user} was suspended"),
        "userRestored" => format!("User {user} was restored"),
        "userDeleted" => format!("User {user} was deleted"),
        "userRoleUpdated" => format!("The role of user {user} was changed"),
        _ => String::new(),
    }
}
