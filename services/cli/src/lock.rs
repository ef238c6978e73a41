//! `bowline lock`: tailnet lock as the server has it. It is changed on devices, with `tailscale lock`.

use std::fmt::Write as _;

use bowline_keys::NodePublic;
use bowline_proto::key_registry::v1::{
    GetLockRequest, GetLockResponse, ListLockUpdatesRequest, LockLogEntry, LockedOutNode,
    TrustedKey, tailnet_lock_service_client::TailnetLockServiceClient,
};
use clap::Subcommand;
use serde::Serialize;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::Failure,
    output::{Printer, Row, join_texts, key_text},
    time,
};

/// What to show of tailnet lock.
#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// Show whether it is on, which keys it trusts, and which devices wait for a signature.
    Status {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// List its updates, the newest first.
    Log {
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        most: u32,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// A lock as shown.
#[derive(Debug, Serialize)]
struct LockView {
    /// on, off, or never.
    state: &'static str,
    head: String,
    since: Option<String>,
    updates: u32,
    most_updates: u32,
    keys: Vec<TrustedKeyView>,
    waiting: Vec<WaitingNodeView>,
}

#[derive(Debug, Serialize)]
struct TrustedKeyView {
    key: String,
    votes: u32,
    /// The devices whose own key it is.
    nodes: Vec<String>,
    signed_nodes: u32,
}

#[derive(Debug, Serialize)]
struct WaitingNodeView {
    id: u64,
    name: String,
    node_key: String,
    /// Its own lock key; null where it is not known.
    lock_key: Option<String>,
    /// What to run on a device whose key is trusted.
    command: String,
}

/// An update as shown.
#[derive(Debug, Serialize)]
struct LockLogRow {
    hash: String,
    change: String,
    key: Option<String>,
    signers: Vec<String>,
    taken_at: Option<String>,
}

/// Returns a lock key as `tailscale lock` has it.
fn lock_key_text(bytes: &[u8]) -> Option<String> {
    let is_key = bytes.len() == 32;
    is_key.then(|| format!("tlpub:{}", hex::encode(bytes)))
}

impl From<GetLockResponse> for LockView {
    fn from(answer: GetLockResponse) -> Self {
        let lock = answer.lock.unwrap_or_default();
        let state = match (lock.head.is_empty(), lock.disabled) {
            (false, _) => "on",
            (true, true) => "off",
            (true, false) => "never",
        };
        Self {
            state,
            head: lock.head,
            since: time::time_text(answer.since),
            updates: answer.updates,
            most_updates: answer.most_updates,
            keys: answer.keys.into_iter().map(TrustedKeyView::from).collect(),
            waiting: answer
                .waiting
                .into_iter()
                .map(WaitingNodeView::from)
                .collect(),
        }
    }
}

impl From<TrustedKey> for TrustedKeyView {
    fn from(key: TrustedKey) -> Self {
        Self {
            key: lock_key_text(&key.id).unwrap_or_default(),
            votes: key.votes,
            nodes: key.nodes,
            signed_nodes: key.signed_nodes,
        }
    }
}

impl From<LockedOutNode> for WaitingNodeView {
    fn from(node: LockedOutNode) -> Self {
        let node_key = key_text(NodePublic::try_from(&*node.node_key));
        let lock_key = lock_key_text(&node.rotation_key);
        let parts = ["tailscale lock sign", &node_key];
        let parts = parts.into_iter().chain(lock_key.as_deref());
        Self {
            id: node.id,
            name: node.name,
            command: parts.collect::<Vec<_>>().join(" "),
            node_key,
            lock_key,
        }
    }
}

impl From<LockLogEntry> for LockLogRow {
    fn from(entry: LockLogEntry) -> Self {
        let signers = entry.signers.iter();
        Self {
            hash: entry.hash,
            change: entry.kind,
            key: lock_key_text(&entry.key_id),
            signers: signers.filter_map(|id| lock_key_text(id)).collect(),
            taken_at: time::time_text(entry.taken_at),
        }
    }
}

impl Row for LockLogRow {
    const HEADS: &'static [&'static str] = &["hash", "change", "key", "signed by", "taken at"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.hash.clone(),
            self.change.clone(),
            self.key.clone().unwrap_or_default(),
            join_texts(&self.signers),
            self.taken_at.clone().unwrap_or_default(),
        ]
    }
}

impl LockView {
    /// Describes a lock for people.
    fn describe(&self) -> String {
        let since = self.since.as_deref().unwrap_or_default();
        let mut text = match self.state {
            "on" => format!(
                "Tailnet lock is on since {since}. Its head is {}.",
                self.head
            ),
            "off" => format!("Tailnet lock is off since {since}."),
            _ => "Tailnet lock was never on. `tailscale lock init` on a device of an owner or administrator switches it on."
                .to_owned(),
        };
        if self.state != "on" {
            return text;
        }
        text.push_str("\n\nTrusted keys:");
        for key in &self.keys {
            // What is written to a text is never refused.
            let _ = write!(
                text,
                "\n  {}  {} votes, signs {} devices, of {}",
                key.key,
                key.votes,
                key.signed_nodes,
                match key.nodes.is_empty() {
                    true => "no device here".to_owned(),
                    false => join_texts(&key.nodes),
                }
            );
        }
        match self.waiting.is_empty() {
            true => text.push_str("\n\nNo device waits for a signature."),
            false => text.push_str(
                "\n\nThese devices wait for a signature. Run on a device whose key is trusted:",
            ),
        }
        for node in &self.waiting {
            let _ = write!(text, "\n  {}: {}", node.name, node.command);
        }
        text
    }
}

/// Runs a command.
pub async fn run(
    command: LockCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = TailnetLockServiceClient::new(connection.connect_to_registry()?);
    match command {
        LockCommand::Status { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = GetLockRequest { tailnet_id };
            let answer = client.get_lock(request).await?.into_inner();
            let shown = LockView::from(answer);
            printer.print_result(&shown, &shown.describe());
        }
        LockCommand::Log { most, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = ListLockUpdatesRequest { tailnet_id, most };
            let answer = client.list_lock_updates(request).await?.into_inner();
            let rows = answer.updates.into_iter().map(LockLogRow::from);
            printer.print_rows(&rows.collect::<Vec<_>>());
        }
    }
    Ok(())
}
