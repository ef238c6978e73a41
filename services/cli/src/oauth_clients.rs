//! `bowline oauth-clients`.

use bowline_proto::identity::v1::{
    CreateOAuthClientRequest, ListOAuthClientsRequest, OAuthClient, RevokeOAuthClientRequest,
    o_auth_client_service_client::OAuthClientServiceClient,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row, join_texts},
    time,
};

/// What to do with OAuth clients.
#[derive(Debug, Subcommand)]
pub enum OAuthClientsCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Make one and show its secret, once. It gets tokens of an hour at PUBLIC_URL/oauth/token.
    Create(OAuthClientArgs),
    /// Revoke one with its tokens: within a second no call passes with one.
    Revoke {
        /// The client's id, as listed.
        id: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What a client may do.
#[derive(Debug, Args)]
pub struct OAuthClientArgs {
    /// What its tokens may be used for, such as devices:core:read; may be repeated.
    #[arg(long = "scope", id = "scopes", required = true)]
    scopes: Vec<String>,
    /// A tag that it may give devices, such as tag:ci; may be repeated. Needed with the scopes devices:core and auth_keys.
    #[arg(long = "tag", id = "tags")]
    tags: Vec<String>,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// A client as shown.
#[derive(Debug, Serialize)]
struct OAuthClientRow {
    id: String,
    scopes: Vec<String>,
    tags: Vec<String>,
    description: String,
    created_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<OAuthClient> for OAuthClientRow {
    fn from(client: OAuthClient) -> Self {
        Self {
            id: client.id,
            scopes: client.scopes,
            tags: client.tags,
            description: client.description,
            created_at: time::time_text(client.created_at),
            last_used_at: time::time_text(client.last_used_at),
            revoked_at: time::time_text(client.revoked_at),
        }
    }
}

impl Row for OAuthClientRow {
    const HEADS: &'static [&'static str] = &["id", "scopes", "tags", "last used", "revoked", "for"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            join_texts(&self.scopes),
            join_texts(&self.tags),
            self.last_used_at.clone().unwrap_or_default(),
            self.revoked_at.clone().unwrap_or_default(),
            self.description.clone(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: OAuthClientsCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut service = OAuthClientServiceClient::new(connection.connect_to_identity()?);
    match command {
        OAuthClientsCommand::List { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = ListOAuthClientsRequest { tailnet_id };
            let listed = service.list_o_auth_clients(request).await?.into_inner();
            let rows: Vec<_> = listed
                .clients
                .into_iter()
                .map(OAuthClientRow::from)
                .collect();
            printer.print_rows(&rows);
        }
        OAuthClientsCommand::Create(args) => {
            let request = CreateOAuthClientRequest {
                tailnet_id: args.tailnet.find_id(connection).await?,
                description: args.description,
                scopes: args.scopes,
                tags: args.tags,
            };
            let answer = service.create_o_auth_client(request).await?.into_inner();
            let client = OAuthClientRow::from(require_field(answer.client, "client")?);
            printer.print_result(
                &json!({ "secret": answer.secret, "client": client }),
                &answer.secret,
            );
        }
        OAuthClientsCommand::Revoke { id, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = RevokeOAuthClientRequest { tailnet_id, id };
            let client = service
                .revoke_o_auth_client(request)
                .await?
                .into_inner()
                .client;
            printer.print_row(&OAuthClientRow::from(require_field(client, "client")?));
        }
    }
    Ok(())
}
