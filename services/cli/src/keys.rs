//! `bowline keys`.

use bowline_proto::key_registry::v1::{
    CreatePreAuthKeyRequest, ExpireNodesOfPreAuthKeyRequest, ListPreAuthKeysRequest, PreAuthKey,
    RevokePreAuthKeyRequest, node_service_client::NodeServiceClient,
    pre_auth_key_service_client::PreAuthKeyServiceClient,
};
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
    output::{Printer, Row, join_texts, yes_mark},
    revocation, time,
};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Make one and show it, once.
    Create(CreateArgs),
    /// Revoke one; nodes it added stay, unless --with-nodes is given.
    Revoke {
        /// The key's id, as listed.
        id: String,
        /// End the keys of the nodes that it added, or gave a key since. After a failure the same command goes on.
        #[arg(long)]
        with_nodes: bool,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What a key shall do.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose nodes it adds; with tags it may be left out.
    #[arg(long, required_unless_present = "tags")]
    user: Option<String>,
    /// It may be used more than once.
    #[arg(long)]
    reusable: bool,
    /// Its nodes are deleted after they go offline.
    #[arg(long)]
    ephemeral: bool,
    /// Its nodes need no approval.
    #[arg(long)]
    pre_approved: bool,
    /// A tag its nodes get, such as tag:web; may be repeated.
    #[arg(long = "tag", id = "tags")]
    tags: Vec<String>,
    /// When it ends, such as 24h; 90 days when not given.
    #[arg(long, value_parser = time::parse_duration)]
    expires: Option<TimeDelta>,
    /// How often it may be used.
    #[arg(long, requires = "reusable", value_parser = clap::value_parser!(u32).range(1..))]
    max_uses: Option<u32>,
    /// How often it may be used at once, and again one after the other within an hour.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_uses_per_hour: Option<u32>,
    /// A network that its nodes register from, such as 10.0.0.0/8; may be repeated. From everywhere when not given.
    #[arg(long = "source", id = "sources", value_name = "NETWORK")]
    sources: Vec<String>,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// A key as shown.
#[derive(Debug, Serialize)]
struct PreAuthKeyRow {
    id: String,
    user_id: u64,
    tags: Vec<String>,
    reusable: bool,
    ephemeral: bool,
    pre_approved: bool,
    uses: u64,
    max_uses: Option<u32>,
    max_uses_per_hour: Option<u32>,
    source_networks: Vec<String>,
    description: String,
    created_at: Option<String>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<PreAuthKey> for PreAuthKeyRow {
    fn from(key: PreAuthKey) -> Self {
        Self {
            id: key.id,
            user_id: key.user_id,
            tags: key.tags,
            reusable: key.reusable,
            ephemeral: key.ephemeral,
            pre_approved: key.pre_approved,
            uses: key.uses,
            max_uses: Some(key.max_uses).filter(|limit| *limit != 0),
            max_uses_per_hour: Some(key.max_uses_per_hour).filter(|limit| *limit != 0),
            source_networks: key.source_networks,
            description: key.description,
            created_at: time::time_text(key.created_at),
            expires_at: time::time_text(key.expires_at),
            revoked_at: time::time_text(key.revoked_at),
        }
    }
}

impl Row for PreAuthKeyRow {
    const HEADS: &'static [&'static str] = &[
        "id",
        "user",
        "tags",
        "reusable",
        "ephemeral",
        "uses",
        "expires",
        "revoked",
        "for",
    ];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.user_id.to_string(),
            join_texts(&self.tags),
            yes_mark(self.reusable),
            yes_mark(self.ephemeral),
            match self.max_uses {
                Some(limit) => format!("{} of {limit}", self.uses),
                None => self.uses.to_string(),
            },
            self.expires_at.clone().unwrap_or_default(),
            self.revoked_at.clone().unwrap_or_default(),
            self.description.clone(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: KeysCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = PreAuthKeyServiceClient::new(connection.connect_to_registry()?);
    match command {
        KeysCommand::List { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = ListPreAuthKeysRequest { tailnet_id };
            let keys = client.list_pre_auth_keys(request).await?.into_inner().keys;
            printer.print_rows(
                &keys
                    .into_iter()
                    .map(PreAuthKeyRow::from)
                    .collect::<Vec<_>>(),
            );
        }
        KeysCommand::Create(args) => {
            let tailnet_id = args.tailnet.find_id(connection).await?;
            let user_id = match &args.user {
                Some(name) => {
                    administer::find_user(connection, tailnet_id, name)
                        .await?
                        .id
                }
                None => 0,
            };
            let key = PreAuthKey {
                tailnet_id,
                user_id,
                reusable: args.reusable,
                ephemeral: args.ephemeral,
                pre_approved: args.pre_approved,
                tags: args.tags,
                description: args.description,
                max_uses: args.max_uses.unwrap_or_default(),
                max_uses_per_hour: args.max_uses_per_hour.unwrap_or_default(),
                source_networks: args.sources,
                ..PreAuthKey::default()
            };
            let request = CreatePreAuthKeyRequest {
                key: Some(key),
                expires_after: args.expires.map(time::whole_seconds),
            };
            let answer = client.create_pre_auth_key(request).await?.into_inner();
            let made = require_field(answer.key, "key")?;
            require_life(&made, args.expires)?;
            let key = PreAuthKeyRow::from(made);
            printer.print_result(
                &json!({ "secret": answer.secret, "key": key }),
                &answer.secret,
            );
        }
        KeysCommand::Revoke {
            id,
            with_nodes,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = RevokePreAuthKeyRequest { tailnet_id, id };
            let key = client.revoke_pre_auth_key(request).await?.into_inner().key;
            let key = PreAuthKeyRow::from(require_field(key, "key")?);
            match with_nodes {
                true => expire_nodes(connection, printer, tailnet_id, key).await?,
                false => printer.print_row(&key),
            }
        }
    }
    Ok(())
}

/// Refuses a key that was made for another time: a server of an earlier release does not know the field.
fn require_life(made: &PreAuthKey, wanted: Option<TimeDelta>) -> Result<(), Failure> {
    let (Some(wanted), Some(from), Some(to)) = (wanted, made.created_at, made.expires_at) else {
        return Ok(());
    };
    if to.seconds - from.seconds == wanted.num_seconds() {
        return Ok(());
    }
    let text = format!(
        "the key {} ends at another time than was asked, revoke it: are this command and the server of the same release?",
        made.id
    );
    Err(Failure::new(FailureKind::Failed, text))
}

/// Ends the keys of the nodes that a revoked key registered, and names them.
async fn expire_nodes(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet_id: u64,
    key: PreAuthKeyRow,
) -> Result<(), Failure> {
    let mut client = NodeServiceClient::new(connection.connect_to_registry()?);
    let mut nodes = Vec::new();
    let mut text = format!("{} is revoked", key.id);
    let revocation = loop {
        let request = ExpireNodesOfPreAuthKeyRequest {
            tailnet_id,
            pre_auth_key_id: key.id.clone(),
        };
        let answer = client.expire_nodes_of_pre_auth_key(request).await?;
        let answer = answer.into_inner();
        for node in answer.nodes {
            text.push_str(&format!("\n{} key has ended", node.name));
            nodes.push(json!({ "id": node.id, "name": node.name }));
        }
        if !answer.more {
            break answer.revocation;
        }
    };
    let what = json!({ "key": key, "nodes": nodes });
    revocation::print_with_receipt(printer, what, text, revocation);
    Ok(())
}

#[cfg(test)]
mod tests;
