//! `bowline api-keys`.

use bowline_proto::identity::v1::{
    ApiKey, CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest,
    api_key_service_client::ApiKeyServiceClient,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row, join_texts},
    time,
};

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub enum ApiKeysCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Make one and show it, once. It does no more than its user may, and ends with its user.
    Create(ApiKeyArgs),
    /// Revoke one: within a second no call passes with it.
    Revoke {
        /// The key's id, as listed.
        id: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What a key shall do.
#[derive(Debug, Args)]
pub struct ApiKeyArgs {
    /// Whose key it is; with a token the token's user when not given.
    #[arg(long)]
    user: Option<String>,
    /// What it may be used for, such as devices:core:read; may be repeated. For everything that its user may when not given.
    #[arg(long = "scope", id = "scopes")]
    scopes: Vec<String>,
    /// How many days it lives, 90 at most.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=90))]
    days: u32,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// A key as shown.
#[derive(Debug, Serialize)]
struct ApiKeyRow {
    id: String,
    user_id: u64,
    scopes: Vec<String>,
    description: String,
    created_at: Option<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<ApiKey> for ApiKeyRow {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            user_id: key.user_id,
            scopes: key.scopes,
            description: key.description,
            created_at: time::time_text(key.created_at),
            expires_at: time::time_text(key.expires_at),
            last_used_at: time::time_text(key.last_used_at),
            revoked_at: time::time_text(key.revoked_at),
        }
    }
}

impl Row for ApiKeyRow {
    const HEADS: &'static [&'static str] = &[
        "id",
        "user",
        "scopes",
        "expires",
        "last used",
        "revoked",
        "for",
    ];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.user_id.to_string(),
            join_texts(&self.scopes),
            self.expires_at.clone().unwrap_or_default(),
            self.last_used_at.clone().unwrap_or_default(),
            self.revoked_at.clone().unwrap_or_default(),
            self.description.clone(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: ApiKeysCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = ApiKeyServiceClient::new(connection.connect_to_identity()?);
    match command {
        ApiKeysCommand::List { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = ListApiKeysRequest { tailnet_id };
            let keys = client.list_api_keys(request).await?.into_inner().keys;
            let rows: Vec<_> = keys.into_iter().map(ApiKeyRow::from).collect();
            printer.print_rows(&rows);
        }
        ApiKeysCommand::Create(args) => {
            let tailnet_id = args.tailnet.find_id(connection).await?;
            let user_id = match &args.user {
                Some(name) => {
                    let user = administer::find_user(connection, tailnet_id, name);
                    user.await?.id
                }
                None => 0,
            };
            let request = CreateApiKeyRequest {
                tailnet_id,
                user_id,
                description: args.description,
                scopes: args.scopes,
                days: args.days,
            };
            let answer = client.create_api_key(request).await?.into_inner();
            let key = ApiKeyRow::from(require_field(answer.key, "key")?);
            printer.print_result(
                &json!({ "secret": answer.secret, "key": key }),
                &answer.secret,
            );
        }
        ApiKeysCommand::Revoke { id, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = RevokeApiKeyRequest { tailnet_id, id };
            let key = client.revoke_api_key(request).await?.into_inner().key;
            printer.print_row(&ApiKeyRow::from(require_field(key, "key")?));
        }
    }
    Ok(())
}
