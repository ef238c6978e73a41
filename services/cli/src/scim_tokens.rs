//! `bowline scim-tokens`.

use bowline_proto::identity::v1::{
    CreateScimTokenRequest, ListScimTokensRequest, RevokeScimTokenRequest, ScimToken,
    scim_token_service_client::ScimTokenServiceClient,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    connections,
    failure::{Failure, require_field},
    output::{Printer, Row},
    time,
};

/// What to do with tokens that identity providers bring users and groups with.
#[derive(Debug, Subcommand)]
pub enum ScimTokensCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Make one for a connection's provider and show it, once. The provider calls PUBLIC_URL/scim/v2 with it.
    Create(ScimTokenArgs),
    /// Revoke one: no request passes with it any more. What it has brought stays.
    #[command(visible_alias = "delete")]
    Revoke {
        /// The token's id, as listed.
        id: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What a token is for.
#[derive(Debug, Args)]
pub struct ScimTokenArgs {
    /// The name of the connection to the provider.
    #[arg(long)]
    connection: String,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// A token as shown.
#[derive(Debug, Serialize)]
struct ScimTokenRow {
    id: String,
    connection_id: u64,
    description: String,
    created_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<ScimToken> for ScimTokenRow {
    fn from(token: ScimToken) -> Self {
        Self {
            id: token.id,
            connection_id: token.connection_id,
            description: token.description,
            created_at: time::time_text(token.created_at),
            last_used_at: time::time_text(token.last_used_at),
            revoked_at: time::time_text(token.revoked_at),
        }
    }
}

impl Row for ScimTokenRow {
    const HEADS: &'static [&'static str] = &["id", "connection", "last used", "revoked", "for"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.connection_id.to_string(),
            self.last_used_at.clone().unwrap_or_default(),
            self.revoked_at.clone().unwrap_or_default(),
            self.description.clone(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: ScimTokensCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = ScimTokenServiceClient::new(connection.connect_to_identity()?);
    match command {
        ScimTokensCommand::List { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = ListScimTokensRequest { tailnet_id };
            let tokens = client.list_scim_tokens(request).await?.into_inner().tokens;
            let rows: Vec<_> = tokens.into_iter().map(ScimTokenRow::from).collect();
            printer.print_rows(&rows);
        }
        ScimTokensCommand::Create(args) => {
            let tailnet_id = args.tailnet.find_id(connection).await?;
            let found = connections::find_connection(connection, tailnet_id, &args.connection);
            let request = CreateScimTokenRequest {
                tailnet_id,
                connection_id: found.await?.id,
                description: args.description,
            };
            let answer = client.create_scim_token(request).await?.into_inner();
            let token = ScimTokenRow::from(require_field(answer.token, "token")?);
            printer.print_result(
                &json!({ "secret": answer.secret, "token": token }),
                &answer.secret,
            );
        }
        ScimTokensCommand::Revoke { id, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = RevokeScimTokenRequest { tailnet_id, id };
            let token = client.revoke_scim_token(request).await?.into_inner().token;
            printer.print_row(&ScimTokenRow::from(require_field(token, "token")?));
        }
    }
    Ok(())
}
