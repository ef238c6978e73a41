//! `bowline tailnets`.

use bowline_proto::identity::v1::{
    CreateTailnetRequest, DeleteTailnetRequest, Tailnet, UpdateTailnetRequest,
    tailnet_service_client::TailnetServiceClient,
};
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use prost_types::FieldMask;
use serde::Serialize;

use crate::{
    administer::{TailnetArg, list_tailnets},
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row, yes_mark},
    time,
};

/// What to do with tailnets.
#[derive(Debug, Subcommand)]
pub enum TailnetsCommand {
    /// List all.
    List,
    /// Show one.
    Show {
        /// Its name; the only one when not given.
        name: Option<String>,
    },
    /// Make one.
    Create {
        /// A DNS label such as "home".
        name: String,
    },
    /// Change settings.
    Update(TailnetSettings),
    /// Delete one without users.
    Delete {
        /// Its name or number.
        name: String,
    },
}

/// Which settings to change.
#[derive(Debug, Args)]
pub struct TailnetSettings {
    #[command(flatten)]
    tailnet: TailnetArg,
    /// What clients show.
    #[arg(long)]
    display_name: Option<String>,
    /// Whether an administrator approves each machine.
    #[arg(long)]
    machine_approval: Option<bool>,
    /// Whether an administrator approves each person who logs in by a provider for the first time.
    #[arg(long)]
    user_approval: Option<bool>,
    /// Whether a node key is replaced only for clients that prove to hold both; released clients do not.
    #[arg(long)]
    require_key_proof: Option<bool>,
    /// Whether clients update themselves unless their users chose.
    #[arg(long)]
    auto_update: Option<bool>,
    /// How long a user's key lives, such as 180d.
    #[arg(long, value_parser = time::parse_duration)]
    key_lifetime: Option<TimeDelta>,
    /// Where IPv4 addresses are taken from.
    #[arg(long)]
    ipv4_pool: Option<String>,
    /// Where IPv6 addresses are taken from.
    #[arg(long)]
    ipv6_pool: Option<String>,
}

/// A tailnet as it is shown.
#[derive(Debug, Serialize)]
struct TailnetRow {
    id: u64,
    name: String,
    display_name: String,
    magic_dns_suffix: String,
    ipv4_pool: String,
    ipv6_pool: String,
    key_lifetime_seconds: Option<i64>,
    machine_approval: bool,
    user_approval: bool,
    require_key_proof: bool,
    auto_update: Option<bool>,
    created_at: Option<String>,
}

impl From<Tailnet> for TailnetRow {
    fn from(tailnet: Tailnet) -> Self {
        Self {
            id: tailnet.id,
            name: tailnet.name,
            display_name: tailnet.display_name,
            magic_dns_suffix: tailnet.magic_dns_suffix,
            ipv4_pool: tailnet.ipv4_pool,
            ipv6_pool: tailnet.ipv6_pool,
            key_lifetime_seconds: tailnet.key_lifetime.map(|lifetime| lifetime.seconds),
            machine_approval: tailnet.machine_approval,
            user_approval: tailnet.user_approval,
            require_key_proof: tailnet.require_key_proof,
            auto_update: tailnet.auto_update,
            created_at: time::time_text(tailnet.created_at),
        }
    }
}

impl Row for TailnetRow {
    const HEADS: &'static [&'static str] = &["name", "dns suffix", "ipv4", "ipv6", "approval"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.magic_dns_suffix.clone(),
            self.ipv4_pool.clone(),
            self.ipv6_pool.clone(),
            yes_mark(self.machine_approval),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: TailnetsCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = TailnetServiceClient::new(connection.connect_to_identity()?);
    match command {
        TailnetsCommand::List => {
            let tailnets = list_tailnets(connection).await?.into_iter();
            printer.print_rows(&tailnets.map(TailnetRow::from).collect::<Vec<_>>());
        }
        TailnetsCommand::Show { name } => {
            let found = TailnetArg::new(name).find_tailnet(connection).await?;
            printer.print_row(&TailnetRow::from(found));
        }
        TailnetsCommand::Create { name } => {
            let request = CreateTailnetRequest {
                name,
                settings: None,
            };
            let made = client.create_tailnet(request).await?.into_inner().tailnet;
            printer.print_row(&TailnetRow::from(require_field(made, "tailnet")?));
        }
        TailnetsCommand::Update(settings) => {
            let request = update_request(connection, settings).await?;
            let changed = client.update_tailnet(request).await?.into_inner().tailnet;
            printer.print_row(&TailnetRow::from(require_field(changed, "tailnet")?));
        }
        TailnetsCommand::Delete { name } => {
            let tailnet = TailnetArg::new(Some(name)).find_tailnet(connection).await?;
            let request = DeleteTailnetRequest {
                tailnet_id: tailnet.id,
            };
            client.delete_tailnet(request).await?;
            let name = tailnet.name;
            printer.print_result(
                &serde_json::json!({ "deleted": name }),
                &format!("{name} is deleted"),
            );
        }
    }
    Ok(())
}

async fn update_request(
    connection: &ConnectionArgs,
    settings: TailnetSettings,
) -> Result<UpdateTailnetRequest, Failure> {
    let TailnetSettings {
        tailnet,
        display_name,
        machine_approval,
        user_approval,
        require_key_proof,
        auto_update,
        key_lifetime,
        ipv4_pool,
        ipv6_pool,
    } = settings;
    let mut wanted = tailnet.find_tailnet(connection).await?;
    let given = [
        ("display_name", display_name.is_some()),
        ("machine_approval", machine_approval.is_some()),
        ("user_approval", user_approval.is_some()),
        ("require_key_proof", require_key_proof.is_some()),
        ("auto_update", auto_update.is_some()),
        ("key_lifetime", key_lifetime.is_some()),
        ("ipv4_pool", ipv4_pool.is_some()),
        ("ipv6_pool", ipv6_pool.is_some()),
    ];
    let given = given.into_iter().filter(|(_, is_given)| *is_given);
    let paths: Vec<_> = given.map(|(name, _)| name.to_owned()).collect();
    // What was not given is not in the mask, so its value is not read.
    wanted.display_name = display_name.unwrap_or_default();
    wanted.machine_approval = machine_approval.unwrap_or_default();
    wanted.user_approval = user_approval.unwrap_or_default();
    wanted.require_key_proof = require_key_proof.unwrap_or_default();
    wanted.auto_update = auto_update;
    wanted.key_lifetime = key_lifetime.map(|lifetime| prost_types::Duration {
        seconds: lifetime.num_seconds(),
        nanos: 0,
    });
    wanted.ipv4_pool = ipv4_pool.unwrap_or_default();
    wanted.ipv6_pool = ipv6_pool.unwrap_or_default();
    Ok(UpdateTailnetRequest {
        tailnet: Some(wanted),
        update_mask: Some(FieldMask { paths }),
    })
}
