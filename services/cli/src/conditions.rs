//! `bowline conditions`.

use bowline_proto::identity::v1::{
    AddConditionRequest, Condition, ConditionScope, ExplainConditionsRequest,
    ListConditionsRequest, RemoveConditionRequest, Role,
    condition_service_client::ConditionServiceClient,
};
use bowline_service_kit::GrpcChannel;
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use prost_types::Duration;
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    connections::find_connection,
    failure::Failure,
    output::{Printer, Row, join_texts},
    time,
    users::{RoleArg, role_name},
};

/// What to do with conditions.
#[derive(Debug, Subcommand)]
pub enum ConditionsCommand {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Add one: it holds for the next login. Without --role, --group, --tag, --renewal or --administration it is
    /// for everyone.
    Add(Box<AddArgs>),
    /// Remove one.
    Remove {
        /// Its number, as listed.
        id: u64,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Show which conditions apply to a user, and when.
    Explain {
        /// Who.
        #[arg(long)]
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// Whom a condition applies to, and what a login must be like.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// For users with this role.
    #[arg(long, group = "whom")]
    role: Option<RoleArg>,
    /// For users in this group.
    #[arg(long, group = "whom")]
    group: Option<String>,
    /// For devices that ask for this tag, such as tag:prod.
    #[arg(long, group = "whom")]
    tag: Option<String>,
    /// For devices that are in and need a new key.
    #[arg(long, group = "whom")]
    renewal: bool,
    /// For users with another role than member, when they log in to administer in a browser.
    #[arg(long, group = "whom")]
    administration: bool,
    /// What an OpenID Connect provider must say in the claim "acr". Repeat it for others that will do, too.
    #[arg(long = "acr")]
    acr: Vec<String>,
    /// What an OpenID Connect provider must say in the claim "amr", such as "otp". Repeat it for others that will do, too.
    #[arg(long = "amr")]
    amr: Vec<String>,
    /// The AuthnContext class that a SAML provider must say. Repeat it for others that will do, too.
    #[arg(long = "authn-context")]
    authn_contexts: Vec<String>,
    /// How long ago the person may have logged in at the provider, such as 15m or 12h.
    #[arg(long, value_parser = time::parse_duration)]
    max_age: Option<TimeDelta>,
    /// The connection that must be used.
    #[arg(long)]
    connection: Option<String>,
    /// A network that the device or browser must ask from, such as 192.0.2.0/24. Repeat it for more.
    #[arg(long = "network")]
    networks: Vec<String>,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// A condition as shown.
#[derive(Debug, Serialize)]
struct ConditionRow {
    id: u64,
    applies_to: String,
    acr: Vec<String>,
    amr: Vec<String>,
    authn_contexts: Vec<String>,
    max_age_seconds: Option<i64>,
    connection_id: Option<u64>,
    networks: Vec<String>,
    occasion: Option<String>,
}

impl From<Condition> for ConditionRow {
    fn from(condition: Condition) -> Self {
        let applies_to = match condition.scope() {
            ConditionScope::Role => format!("role {}", role_name(condition.role())),
            ConditionScope::Group => format!("group:{}", condition.group),
            ConditionScope::Tag => condition.tag.clone(),
            ConditionScope::Renewal => "renewal".to_owned(),
            ConditionScope::Administration => "administration".to_owned(),
            ConditionScope::Everyone | ConditionScope::Unspecified => "everyone".to_owned(),
        };
        Self {
            id: condition.id,
            applies_to,
            acr: condition.acr,
            amr: condition.amr,
            authn_contexts: condition.authn_contexts,
            max_age_seconds: condition.max_age.map(|age| age.seconds),
            connection_id: Some(condition.connection_id).filter(|id| *id != 0),
            networks: condition.networks,
            occasion: None,
        }
    }
}

impl ConditionRow {
    /// Returns what a login must be like, in one line.
    fn required_text(&self) -> String {
        let mut parts = Vec::new();
        for (name, list) in [
            ("acr", &self.acr),
            ("amr", &self.amr),
            ("AuthnContext", &self.authn_contexts),
            ("network", &self.networks),
        ] {
            if !list.is_empty() {
                parts.push(format!("{name} {}", list.join(" or ")));
            }
        }
        if let Some(seconds) = self.max_age_seconds {
            parts.push(format!("at most {seconds} seconds old"));
        }
        if let Some(id) = self.connection_id {
            parts.push(format!("connection {id}"));
        }
        join_texts(&parts)
    }
}

impl Row for ConditionRow {
    const HEADS: &'static [&'static str] = &["id", "applies to", "requires"];
    const RARE: &'static [&'static str] = &["when"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.applies_to.clone(),
            self.required_text(),
            self.occasion.clone().unwrap_or_default(),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: ConditionsCommand,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        ConditionsCommand::List { tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let request = ListConditionsRequest { tailnet_id };
            let answer = connect(server)?.list_conditions(request).await?;
            let rows = answer.into_inner().conditions.into_iter();
            printer.print_rows(&rows.map(ConditionRow::from).collect::<Vec<_>>());
            Ok(())
        }
        ConditionsCommand::Add(args) => add_condition(*args, server, printer).await,
        ConditionsCommand::Remove { id, tailnet } => {
            let request = RemoveConditionRequest {
                tailnet_id: tailnet.find_id(server).await?,
                condition_id: id,
            };
            connect(server)?.remove_condition(request).await?;
            let text = format!("condition {id} is removed");
            printer.print_result(&json!({ "removed": id }), &text);
            Ok(())
        }
        ConditionsCommand::Explain { user, tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let user = administer::find_user(server, tailnet_id, &user).await?;
            let request = ExplainConditionsRequest {
                tailnet_id,
                user_id: user.id,
            };
            let answer = connect(server)?.explain_conditions(request).await?;
            let rows = answer.into_inner().conditions.into_iter();
            let rows = rows.map(|applied| ConditionRow {
                occasion: Some(applied.occasion),
                ..applied.condition.unwrap_or_default().into()
            });
            printer.print_rows(&rows.collect::<Vec<_>>());
            Ok(())
        }
    }
}

async fn add_condition(
    args: AddArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let tailnet_id = args.tailnet.find_id(server).await?;
    let connection_id = match &args.connection {
        Some(name) => find_connection(server, tailnet_id, name).await?.id,
        None => 0,
    };
    let scope = match &args {
        AddArgs { role: Some(_), .. } => ConditionScope::Role,
        AddArgs { group: Some(_), .. } => ConditionScope::Group,
        AddArgs { tag: Some(_), .. } => ConditionScope::Tag,
        AddArgs { renewal: true, .. } => ConditionScope::Renewal,
        AddArgs {
            administration: true,
            ..
        } => ConditionScope::Administration,
        _ => ConditionScope::Everyone,
    };
    let condition = Condition {
        tailnet_id,
        scope: scope.into(),
        role: args.role.map_or(Role::Unspecified, Role::from).into(),
        group: args.group.unwrap_or_default(),
        tag: args.tag.unwrap_or_default(),
        acr: args.acr,
        amr: args.amr,
        authn_contexts: args.authn_contexts,
        max_age: args.max_age.map(|age| Duration {
            seconds: age.num_seconds(),
            nanos: 0,
        }),
        connection_id,
        networks: args.networks,
        ..Condition::default()
    };
    let request = AddConditionRequest {
        condition: Some(condition),
    };
    let answer = connect(server)?.add_condition(request).await?;
    let added = answer.into_inner().condition.unwrap_or_default();
    printer.print_row(&ConditionRow::from(added));
    Ok(())
}

fn connect(server: &ConnectionArgs) -> Result<ConditionServiceClient<GrpcChannel>, Failure> {
    Ok(ConditionServiceClient::new(server.connect_to_identity()?))
}
