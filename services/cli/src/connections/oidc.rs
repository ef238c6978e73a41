//! `bowline connections create oidc`.

use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, OidcProvider, connection::Provider,
};
use clap::Args;

use super::{AdmissionArgs, SecretArgs, connect, role_groups::RoleGroupArgs, rows::NewOidcRow};
use crate::{
    administer::TailnetArg, connection::ConnectionArgs, failure::Failure, output::Printer,
};

/// An OpenID Connect provider.
#[derive(Debug, Args)]
pub struct OidcArgs {
    /// What people choose on the login page.
    name: String,
    /// The issuer, exactly as the provider writes it.
    #[arg(long)]
    issuer: String,
    /// This server's id at the provider.
    #[arg(long)]
    client_id: String,
    #[command(flatten)]
    secret: SecretArgs,
    /// A mail domain that belongs to the organisation: a verified address in it is the existing user of that name. Repeat it
    /// for more.
    #[arg(long = "domain")]
    domains: Vec<String>,
    /// The claim that names a person's groups, such as "groups" or "realm_access.roles".
    #[arg(long, default_value = "")]
    groups_claim: String,
    /// A scope beside "openid". "profile" and "email" when none is given.
    #[arg(long = "scope")]
    scopes: Vec<String>,
    #[command(flatten)]
    roles: RoleGroupArgs,
    #[command(flatten)]
    admission: AdmissionArgs,
    /// Believe mail addresses that the provider does not call verified. Only where nobody can choose an address.
    #[arg(long)]
    allow_unverified_mail: bool,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// Makes a connection.
pub(super) async fn create(
    args: OidcArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let tailnet_id = args.tailnet.find_tailnet(server).await?.id;
    let client_secret = args.secret.read_secret()?.to_string();
    let request = CreateConnectionRequest {
        connection: Some(oidc_connection(tailnet_id, args)),
        client_secret,
        ..CreateConnectionRequest::default()
    };
    let answer = connect(server)?.create_connection(request).await?;
    printer.print_row(&NewOidcRow::from(answer.into_inner()));
    Ok(())
}

fn oidc_connection(tailnet_id: u64, args: OidcArgs) -> Connection {
    Connection {
        tailnet_id,
        name: args.name,
        domains: args.domains,
        role_groups: args.roles.role_groups,
        admission: Some(args.admission.into_admission()),
        provider: Some(Provider::Oidc(OidcProvider {
            issuer: args.issuer,
            client_id: args.client_id,
            scopes: args.scopes,
            groups_claim: args.groups_claim,
            allow_unverified_mail: args.allow_unverified_mail,
            ..OidcProvider::default()
        })),
        ..Connection::default()
    }
}
