//! `bowline connections create oidc`.

use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, LoginEndEffect, OidcProvider, RefreshConnectionRequest,
    UpdateConnectionRequest, connection::Provider,
};
use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use prost_types::FieldMask;
use serde_json::json;

use super::{
    SecretArgs,
    admission::AdmissionArgs,
    connect,
    role_groups::RoleGroupArgs,
    rows::{ConnectionRow, NewOidcRow},
};
use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
    time,
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
    refresh: RefreshArgs,
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

/// How a provider is asked about people after their login.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// Ask the provider this often, such as 1h, whether it still vouches for each person who has logged in, by the refresh token of
    /// the last login; never when left out. Groups follow the answer. A token lasts as long as the provider says, mostly as long
    /// as the session there: where devices are to outlast that, ask for longer ones with --scope offline_access beside the scopes
    /// that are asked for otherwise. Between 5m and 30d.
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    refresh_every: Option<TimeDelta>,
    /// What ends when the provider says that it does not. That it can not be asked, or answers nonsense, ends nothing. After an
    /// answer that was lost, a refusal ends sessions only: the token may be used up.
    #[arg(long, value_enum, default_value_t = EffectArg::Sessions)]
    on_refusal: EffectArg,
}

impl RefreshArgs {
    fn apply_to(&self, oidc: &mut OidcProvider) {
        oidc.refresh_interval = self.refresh_every.map(|every| prost_types::Duration {
            seconds: every.num_seconds(),
            nanos: 0,
        });
        oidc.on_refusal = LoginEndEffect::from(self.on_refusal).into();
    }
}

/// Changes how a provider is asked about people after their login.
pub(super) async fn set_refresh(
    found: Connection,
    refresh: &RefreshArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    update(found, server, printer, |oidc| refresh.apply_to(oidc)).await
}

/// Lets a provider be asked about people now.
pub(super) async fn refresh(
    found: &Connection,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let request = RefreshConnectionRequest {
        tailnet_id: found.tailnet_id,
        connection_id: found.id,
    };
    let answer = connect(server)?.refresh_connection(request).await?;
    let people = answer.into_inner().people;
    let text = format!(
        "the provider of {} is asked about {people} people, a few each second",
        found.name
    );
    let row = json!({ "connection": found.name, "people": people });
    printer.print_result(&row, &text);
    Ok(())
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
    let tailnet_id = args.tailnet.find_id(server).await?;
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
    let mut oidc = OidcProvider {
        issuer: args.issuer,
        client_id: args.client_id,
        scopes: args.scopes,
        groups_claim: args.groups_claim,
        allow_unverified_mail: args.allow_unverified_mail,
        on_logout: LoginEndEffect::from(args.logout.on_logout).into(),
        ..OidcProvider::default()
    };
    args.refresh.apply_to(&mut oidc);
    Connection {
        tailnet_id,
        name: args.name,
        domains: args.domains,
        role_groups: args.roles.role_groups,
        admission: Some(args.admission.into_admission()),
        provider: Some(Provider::Oidc(oidc)),
        ..Connection::default()
    }
}
