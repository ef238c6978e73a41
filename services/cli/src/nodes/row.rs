//! Nodes as they are shown.

use std::collections::BTreeMap;

use bowline_keys::{MachinePublic, NodePublic};
use bowline_proto::{
    identity::v1::User,
    key_registry::v1::{NodeWithState, TaggedBy},
};
use serde::Serialize;

use crate::{
    attributes::AttributeView,
    failure::{Failure, require_field},
    output::{Row, join_texts, key_text, yes_mark},
    time,
};

/// A node as shown.
#[derive(Debug, Serialize)]
pub(super) struct NodeRow {
    id: u64,
    name: String,
    user: String,
    user_suspended: bool,
    tags: Vec<String>,
    ipv4: String,
    ipv6: String,
    online: bool,
    last_seen: Option<String>,
    key_expiry: Option<String>,
    expired: bool,
    approved: bool,
    /// Whether an administrator has turned its machine away.
    denied: bool,
    /// Whether an administrator keeps it out.
    disabled: bool,
    /// Whether it waits for a signature of tailnet lock.
    awaits_signature: bool,
    /// Whether an administrator said that its keys do not end by time.
    key_never_expires: bool,
    /// When its key has to be replaced, where an interval of rotation is set.
    rotation_due: Option<String>,
    ephemeral: bool,
    advertised_routes: Vec<String>,
    approved_routes: Vec<String>,
    primary_routes: Vec<String>,
    /// What it offers and nobody has approved.
    pending_routes: Vec<String>,
    /// Whether it is an exit node: it offers both exit routes, and both are approved.
    exit_node: bool,
    /// Who gave it its tags: user, pre_auth_key or administrator; empty without tags, or where that is not known.
    tagged_by: &'static str,
    /// Other nodes that are on another machine with the same machine key.
    shares_machine_with: Vec<u64>,
    os: String,
    os_version: String,
    client_version: String,
    /// Its custom attributes.
    attributes: Vec<AttributeView>,
    node_key: String,
    machine_key: String,
    /// When two machines were last seen to use its key; null when nobody else does.
    key_shared_at: Option<String>,
    created_at: Option<String>,
}

/// The head of a column that is empty unless a disk was copied.
const SHARES_MACHINE_KEY: &str = "shares machine key with";

/// The head of a column that is empty where no device has custom attributes.
const ATTRIBUTES: &str = "attributes";

/// What an exit node offers.
const EXIT_ROUTES: [&str; 2] = ["0.0.0.0/0", "::/0"];

impl NodeRow {
    pub(super) fn new(listed: NodeWithState, users: &BTreeMap<u64, User>) -> Result<Self, Failure> {
        let node = require_field(listed.node, "node")?;
        // A node has no soft state until its first report.
        let soft = listed.soft.unwrap_or_default();
        // A node of a user who is gone is cut off like one of a user who is suspended.
        let user = users.get(&node.user_id);
        let is_barred = user.is_none_or(|user| user.suspended);
        let login_name = user.map_or_else(String::new, |user| user.login_name.clone());
        let is_exit = |routes: &[String]| {
            EXIT_ROUTES
                .iter()
                .all(|exit| routes.iter().any(|route| route == exit))
        };
        let offered = &node.advertised_routes;
        let pending = offered
            .iter()
            .filter(|route| !node.approved_routes.contains(route));
        let shared_key = node.shared_key.clone();
        let shared_key = shared_key.filter(|shared| shared.node_key == node.node_key);
        Ok(Self {
            id: node.id,
            key_shared_at: time::time_text(shared_key.and_then(|shared| shared.seen_at)),
            user_suspended: node.goes_with_user() && is_barred,
            pending_routes: pending.cloned().collect(),
            exit_node: is_exit(offered) && is_exit(&node.approved_routes),
            tagged_by: match node.tagged_by() {
                TaggedBy::Unspecified => "",
                TaggedBy::User => "user",
                TaggedBy::PreAuthKey => "pre_auth_key",
                TaggedBy::Administrator => "administrator",
            },
            shares_machine_with: listed.shares_machine_with,
            user: login_name,
            online: soft.online,
            last_seen: time::time_text(soft.last_seen),
            key_expiry: time::time_text(node.key_expiry),
            created_at: time::time_text(node.created_at),
            rotation_due: time::time_text(node.rotation.and_then(|rotation| rotation.due)),
            node_key: key_text(NodePublic::try_from(&*node.node_key)),
            machine_key: key_text(MachinePublic::try_from(&*node.machine_key)),
            name: node.name,
            tags: node.tags,
            ipv4: node.ipv4,
            ipv6: node.ipv6,
            expired: node.expired,
            approved: node.approved,
            denied: node.denied,
            disabled: node.disabled,
            awaits_signature: node.awaits_signature,
            key_never_expires: node.key_never_expires,
            ephemeral: node.ephemeral,
            advertised_routes: node.advertised_routes,
            approved_routes: node.approved_routes,
            primary_routes: node.primary_routes,
            os: node.os,
            os_version: node.os_version,
            attributes: node
                .attributes
                .into_iter()
                .map(AttributeView::new)
                .collect(),
            client_version: node.client_version,
        })
    }

    /// Says whether it is an exit node, or waits to be one.
    fn exit_state(&self) -> &'static str {
        let is_pending = |exit: &&str| self.pending_routes.iter().any(|route| route == exit);
        if self.exit_node {
            "yes"
        } else if EXIT_ROUTES.iter().any(is_pending) {
            "pending"
        } else {
            ""
        }
    }

    /// Says all that keeps it from taking part, or else whether it is connected.
    fn node_state(&self) -> String {
        let hindrances = [
            (self.denied, "denied"),
            (!self.approved && !self.denied, "waits for approval"),
            (self.disabled, "disabled"),
            (self.awaits_signature, "waits for a signature"),
            // A denial ends the key.
            (self.expired && !self.denied, "expired"),
            (self.user_suspended, "user suspended"),
        ];
        let found: Vec<_> = hindrances
            .into_iter()
            .filter_map(|(is_so, text)| is_so.then_some(text))
            .collect();
        match (found.is_empty(), self.online) {
            (false, _) => found.join(", "),
            (true, true) => "online".to_owned(),
            (true, false) => "offline".to_owned(),
        }
    }
}

impl Row for NodeRow {
    const HEADS: &'static [&'static str] = &[
        "id",
        "name",
        "owner",
        "ipv4",
        "ipv6",
        "state",
        "last seen",
        "key ends",
        "routes",
        "pending routes",
        "exit node",
        "ephemeral",
        ATTRIBUTES,
        SHARES_MACHINE_KEY,
    ];
    const RARE: &'static [&'static str] = &[ATTRIBUTES, SHARES_MACHINE_KEY];

    fn table_cells(&self) -> Vec<String> {
        let owner = if self.tags.is_empty() {
            self.user.clone()
        } else {
            join_texts(&self.tags)
        };
        let others: Vec<_> = self
            .shares_machine_with
            .iter()
            .map(u64::to_string)
            .collect();
        let attributes = self.attributes.iter();
        let attributes: Vec<_> = attributes.map(AttributeView::assignment).collect();
        vec![
            self.id.to_string(),
            self.name.clone(),
            owner,
            self.ipv4.clone(),
            self.ipv6.clone(),
            self.node_state(),
            self.last_seen.clone().unwrap_or_default(),
            self.key_expiry
                .clone()
                .unwrap_or_else(|| "never".to_owned()),
            join_texts(&self.approved_routes),
            join_texts(&self.pending_routes),
            self.exit_state().to_owned(),
            yes_mark(self.ephemeral),
            join_texts(&attributes),
            join_texts(&others),
        ]
    }
}
