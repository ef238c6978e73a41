//! `bowline connections`.

mod admission;
pub mod links;
mod local;
mod oidc;
mod role_groups;
mod rows;
mod saml;
mod secret;

use bowline_proto::identity::v1::{
    Connection, DeleteConnectionRequest, ListConnectionsRequest, TestConnectionRequest,
    connection_service_client::ConnectionServiceClient,
};
use bowline_service_kit::GrpcChannel;
use clap::Subcommand;
use serde_json::json;

use crate::{
    administer::{TailnetArg, pick_one},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};
use rows::{CheckRow, ConnectionRow};
use secret::SecretArgs;

/// What to do with connections to identity providers.
#[derive(Debug, Subcommand)]
pub enum ConnectionsCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Add one: people can log in by it at once.
    #[command(subcommand)]
    Create(Box<CreateCommand>),
    /// Change the client's secret, for one that the provider has made anew.
    SetSecret {
        /// Which.
        connection: String,
        #[command(flatten)]
        secret: SecretArgs,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Change what ends when an OpenID Connect provider says that a person has logged out there.
    SetLogout {
        /// Which.
        connection: String,
        #[command(flatten)]
        logout: oidc::LogoutArgs,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Change how an OpenID Connect provider is asked about people after their login. Without --refresh-every it is not.
    SetRefresh {
        /// Which.
        connection: String,
        #[command(flatten)]
        refresh: oidc::RefreshArgs,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Ask an OpenID Connect provider now whether it still vouches for the people who have logged in by it.
    Refresh {
        /// Which.
        connection: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Replace the metadata of a SAML provider: with a file, or with what its URL has now.
    SetMetadata {
        /// Which.
        connection: String,
        #[command(flatten)]
        metadata: saml::MetadataArgs,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Change whether a SAML provider may begin logins. Without --idp-initiated it may not.
    SetIdpInitiated(saml::SetBeginningArgs),
    /// Publish the successor of the key that requests to a SAML provider are signed with. Once the provider has loaded it, run
    /// it again with --finish.
    RollKey {
        /// Which.
        connection: String,
        /// Sign with the successor from now on, and take the old key back.
        #[arg(long)]
        finish: bool,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Walk a connection as a login does, and say what is wrong and what to do.
    Test {
        /// Which.
        connection: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Let a user log in by a connection, whatever the mail address there. For a change of provider, or a user that was made
    /// by hand.
    Link(links::LinkArgs),
    /// Forget that a person at a provider is a user: sessions by the connection end, devices stay. The person's next login finds or
    /// makes a user anew.
    Unlink(links::UnlinkArgs),
    /// Delete one: nobody logs in by it any more. Its users and their devices stay.
    Delete {
        /// Which.
        connection: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// Kinds of connections.
#[derive(Debug, Subcommand)]
pub enum CreateCommand {
    /// OpenID Connect. At the provider, register this server with the redirect address PUBLIC_URL/login/callback, and for
    /// back-channel logout with the logout address that the answer names.
    Oidc(oidc::OidcArgs),
    /// SAML 2.0. The answer names the addresses to enter at the provider.
    Saml(saml::SamlArgs),
    /// No provider: people whom `bowline invitations create` lets in have passkeys, and log in by them.
    Local {
        /// What people choose on the login page, such as "a passkey".
        name: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// Runs a command.
pub async fn run(
    command: ConnectionsCommand,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        ConnectionsCommand::List { tailnet } => print_all(&tailnet, server, printer).await,
        ConnectionsCommand::Create(wanted) => create(*wanted, server, printer).await,
        ConnectionsCommand::SetLogout {
            connection,
            logout,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            oidc::set_logout(found, &logout, server, printer).await
        }
        ConnectionsCommand::SetRefresh {
            connection,
            refresh,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            oidc::set_refresh(found, &refresh, server, printer).await
        }
        ConnectionsCommand::Refresh {
            connection,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            oidc::refresh(&found, server, printer).await
        }
        ConnectionsCommand::SetMetadata {
            connection,
            metadata,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            saml::set_metadata(found, metadata, server, printer).await
        }
        ConnectionsCommand::SetIdpInitiated(args) => {
            saml::set_beginning(args, server, printer).await
        }
        ConnectionsCommand::RollKey {
            connection,
            finish,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            saml::roll_key(&found, finish, server, printer).await
        }
        ConnectionsCommand::Test {
            connection,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            test_connection(&found, server, printer).await
        }
        ConnectionsCommand::SetSecret {
            connection,
            secret,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            secret::set_secret(found, &secret, server, printer).await
        }
        ConnectionsCommand::Link(args) => links::link_user(args, server, printer).await,
        ConnectionsCommand::Unlink(args) => links::unlink_user(args, server, printer).await,
        ConnectionsCommand::Delete {
            connection,
            tailnet,
        } => {
            let found = find_of(&tailnet, &connection, server).await?;
            delete_connection(found, server, printer).await
        }
    }
}

async fn create(
    wanted: CreateCommand,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    match wanted {
        CreateCommand::Oidc(args) => oidc::create(args, server, printer).await,
        CreateCommand::Saml(args) => saml::create(args, server, printer).await,
        CreateCommand::Local { name, tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            local::create(tailnet_id, name, server, printer).await
        }
    }
}

async fn print_all(
    tailnet: &TailnetArg,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let tailnet_id = tailnet.find_id(server).await?;
    let connections = list_connections(server, tailnet_id).await?;
    let rows: Vec<_> = connections.into_iter().map(ConnectionRow::from).collect();
    printer.print_rows(&rows);
    Ok(())
}

async fn test_connection(
    found: &Connection,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let request = TestConnectionRequest {
        tailnet_id: found.tailnet_id,
        connection_id: found.id,
    };
    let answer = connect(server)?.test_connection(request).await?;
    let rows: Vec<_> = answer
        .into_inner()
        .checks
        .into_iter()
        .map(CheckRow::from)
        .collect();
    printer.print_rows(&rows);
    match rows.iter().any(CheckRow::has_failed) {
        false => Ok(()),
        true => Err(Failure::new(
            FailureKind::Failed,
            format!("people can not log in by {}", found.name),
        )),
    }
}

async fn delete_connection(
    found: Connection,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let request = DeleteConnectionRequest {
        tailnet_id: found.tailnet_id,
        connection_id: found.id,
    };
    connect(server)?.delete_connection(request).await?;
    let text = format!(
        "{} is deleted: its users stay, and log in another way",
        found.name
    );
    printer.print_result(&json!({ "deleted": found.name }), &text);
    Ok(())
}

fn connect(server: &ConnectionArgs) -> Result<ConnectionServiceClient<GrpcChannel>, Failure> {
    let channel = server.connect_to_identity()?;
    Ok(ConnectionServiceClient::new(channel))
}

async fn find_of(
    tailnet: &TailnetArg,
    name: &str,
    server: &ConnectionArgs,
) -> Result<Connection, Failure> {
    let tailnet_id = tailnet.find_id(server).await?;
    find_connection(server, tailnet_id, name).await
}

/// Returns the connections of a tailnet.
pub async fn list_connections(
    server: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<Vec<Connection>, Failure> {
    let request = ListConnectionsRequest { tailnet_id };
    let answer = connect(server)?.list_connections(request).await?;
    Ok(answer.into_inner().connections)
}

pub(crate) async fn find_connection(
    server: &ConnectionArgs,
    tailnet_id: u64,
    name: &str,
) -> Result<Connection, Failure> {
    let connections = list_connections(server, tailnet_id).await?;
    let named = connections
        .iter()
        .map(|one| (one.name.as_str(), one.id, one));
    let found = pick_one("connection", name, named)?.cloned();
    found.ok_or_else(|| {
        Failure::new(
            FailureKind::NotFound,
            format!("there is no connection \"{name}\""),
        )
    })
}
