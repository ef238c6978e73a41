//! `bowline connections create oidc`.

use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, LoginEndEffect, OidcProvider, UpdateConnectionRequest,
    connection::Provider,
};
use clap::{Args, ValueEnum};
use prost_types::FieldMask;

use super::{
    AdmissionArgs, SecretArgs, connect,
    role_groups::RoleGroupArgs,
    rows::{ConnectionRow, NewOidcRow},
};
use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
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
    logout: LogoutArgs,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// What ends here with a logout at the provider.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// What ends when the provider says, at the logout address, that a person has logged out there: the sessions in browsers that
    /// the connection has opened; or the person is suspended too, so that every device is cut off within a second, until the
    /// person logs in by the connection, for example at /admin.
    #[arg(long, value_enum, default_value_t = EffectArg::Sessions)]
    on_logout: EffectArg,
}

/// What ends here with a login at a provider.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum EffectArg {
    /// The sessions in browsers.
    Sessions,
    /// These, and the person is suspended.
    Suspend,
}

impl From<EffectArg> for LoginEndEffect {
    fn from(effect: EffectArg) -> Self {
        match effect {
            EffectArg::Sessions => Self::Sessions,
            EffectArg::Suspend => Self::Suspend,
        }
    }
}

/// Returns what people call an effect.
pub(super) fn effect_name(effect: LoginEndEffect) -> &'static str {
    match effect {
        LoginEndEffect::Suspend => "suspend",
        LoginEndEffect::Sessions | LoginEndEffect::Unspecified => "sessions",
    }
}

/// Changes what ends here with a logout at the provider.
pub(super) async fn set_logout(
    found: Connection,
    logout: &LogoutArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    update(found, server, printer, |oidc| {
        oidc.on_logout = LoginEndEffect::from(logout.on_logout).into();
    })
    .await
}

/// Changes what a connection says of its provider.
async fn update(
    mut found: Connection,
    server: &ConnectionArgs,
    printer: &Printer,
    change: impl FnOnce(&mut OidcProvider),
) -> Result<(), Failure> {
    let Some(Provider::Oidc(oidc)) = &mut found.provider else {
        let text = format!("{} is no OpenID Connect connection", found.name);
        return Err(Failure::new(FailureKind::Failed, text));
    };
    change(oidc);
    let request = UpdateConnectionRequest {
        connection: Some(found),
        update_mask: Some(FieldMask {
            paths: vec!["oidc".to_owned()],
        }),
        ..UpdateConnectionRequest::default()
    };
    let answer = connect(server)?.update_connection(request).await?;
    let changed = answer.into_inner().connection.unwrap_or_default();
    printer.print_row(&ConnectionRow::from(changed));
    Ok(())
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
            on_logout: LoginEndEffect::from(args.logout.on_logout).into(),
            ..OidcProvider::default()
        })),
        ..Connection::default()
    }
}
