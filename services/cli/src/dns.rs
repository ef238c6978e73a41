//! `bowline dns`.

use bowline_proto::identity::v1::{
    DnsChange, DnsNames, DnsRecord, SplitDns, Tailnet, UpdateDnsRequest, dns_change::Change,
    tailnet_service_client::TailnetServiceClient,
};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row},
};

/// What to do with the settings that clients resolve names with. Each command answers with all of them.
#[derive(Debug, Subcommand)]
pub enum DnsCommand {
    /// Show all settings.
    Show {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Servers for all names that nothing else here answers.
    #[command(subcommand)]
    Nameservers(NameserverCommand),
    /// Whether the nameservers replace those of the operating system.
    Override(Switch),
    /// Servers for the names of one domain (split DNS).
    #[command(subcommand)]
    Split(SplitCommand),
    /// Domains that are tried behind a short name, after the tailnet's own suffix.
    #[command(subcommand)]
    Search(SearchCommand),
    /// Whether clients answer the names of the tailnet's devices themselves (MagicDNS).
    Magic(Switch),
    /// Set what the names of the tailnet's devices end in.
    Suffix {
        /// A domain such as home.example.com.
        suffix: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// More names that clients answer themselves.
    #[command(subcommand)]
    Records(RecordCommand),
}

/// What to do with the nameservers.
#[derive(Debug, Subcommand)]
pub enum NameserverCommand {
    /// Use these, and no others.
    Set {
        /// IP addresses, or https URLs of public services that clients know, in order.
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Use none.
    Clear {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What to do with the search domains.
#[derive(Debug, Subcommand)]
pub enum SearchCommand {
    /// Try these, and no others.
    Set {
        /// Domains such as corp.example.com, in order.
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<String>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Try none.
    Clear {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What to do with the servers of one domain.
#[derive(Debug, Subcommand)]
pub enum SplitCommand {
    /// Ask these servers, and no others, for the domain and all names below it.
    Set {
        /// A domain such as corp.example.com.
        suffix: String,
        /// IP addresses, or https URLs of public services that clients know, in order.
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Treat the domain as all others.
    Remove {
        /// The domain.
        suffix: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What to do with names.
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Let clients answer a name with an address, one of each type.
    Add {
        /// The whole name, such as printer.home.example.com; the name of a device is the device's in any case.
        name: String,
        /// The type.
        #[arg(value_enum, ignore_case = true)]
        r#type: RecordType,
        /// The address.
        value: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Let clients answer a name no more.
    Remove {
        /// The name.
        name: String,
        /// The type; each when not given.
        #[arg(value_enum, ignore_case = true)]
        r#type: Option<RecordType>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// The types of address that clients answer.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RecordType {
    /// IPv4.
    #[value(name = "A")]
    A,
    /// IPv6.
    #[value(name = "AAAA")]
    Aaaa,
}

/// A setting that is on or off.
#[derive(Debug, Args)]
pub struct Switch {
    /// Which.
    #[arg(value_enum)]
    state: OnOff,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl Switch {
    fn is_on(&self) -> bool {
        self.state == OnOff::On
    }
}

/// All settings, as shown.
#[derive(Debug, Serialize)]
struct DnsRow {
    tailnet: String,
    magic_dns: bool,
    magic_dns_suffix: String,
    nameservers: Vec<String>,
    override_local: bool,
    search_domains: Vec<String>,
    split: Vec<ShownSplit>,
    records: Vec<ShownRecord>,
}

#[derive(Debug, Serialize)]
struct ShownSplit {
    suffix: String,
    nameservers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownRecord {
    name: String,
    r#type: String,
    value: String,
}

impl From<Tailnet> for DnsRow {
    fn from(tailnet: Tailnet) -> Self {
        // A tailnet has no settings until one is made.
        let dns = tailnet.dns.unwrap_or_default();
        let split = |split: SplitDns| ShownSplit {
            suffix: split.suffix,
            nameservers: split.nameservers,
        };
        let record = |record: DnsRecord| ShownRecord {
            name: record.name,
            r#type: record.r#type,
            value: record.value,
        };
        Self {
            tailnet: tailnet.name,
            magic_dns: dns.magic_dns,
            magic_dns_suffix: tailnet.magic_dns_suffix,
            nameservers: dns.nameservers,
            override_local: dns.override_local,
            search_domains: dns.search_domains,
            split: dns.split.into_iter().map(split).collect(),
            records: dns.records.into_iter().map(record).collect(),
        }
    }
}

impl Row for DnsRow {
    const HEADS: &'static [&'static str] = &[
        "tailnet",
        "magic dns",
        "suffix",
        "nameservers",
        "override",
        "search domains",
        "split dns",
        "records",
    ];

    fn table_cells(&self) -> Vec<String> {
        let on = |is_on| if is_on { "on" } else { "off" }.to_owned();
        let split = self.split.iter();
        let split =
            split.map(|split| format!("{} → {}", split.suffix, split.nameservers.join(", ")));
        let records = self.records.iter();
        let records =
            records.map(|record| format!("{} {} {}", record.name, record.r#type, record.value));
        vec![
            self.tailnet.clone(),
            on(self.magic_dns),
            self.magic_dns_suffix.clone(),
            self.nameservers.join(", "),
            on(self.override_local),
            self.search_domains.join(", "),
            join_lines(&split.collect::<Vec<_>>()),
            join_lines(&records.collect::<Vec<_>>()),
        ]
    }
}

/// Returns several values as one cell, a line each, below the first.
fn join_lines(values: &[String]) -> String {
    let indent = " ".repeat(
        DnsRow::HEADS
            .iter()
            .map(|head| head.len())
            .max()
            .unwrap_or(0)
            + 2,
    );
    values.join(&format!("\n{indent}"))
}

/// Runs a command.
pub async fn run(
    command: DnsCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let (change, tailnet) = match command {
        DnsCommand::Show { tailnet } => {
            printer.print_row(&DnsRow::from(tailnet.find_tailnet(connection).await?));
            return Ok(());
        }
        DnsCommand::Nameservers(command) => {
            let (values, tailnet) = match command {
                NameserverCommand::Set { addresses, tailnet } => (addresses, tailnet),
                NameserverCommand::Clear { tailnet } => (Vec::new(), tailnet),
            };
            (Change::Nameservers(DnsNames { values }), tailnet)
        }
        DnsCommand::Search(command) => {
            let (values, tailnet) = match command {
                SearchCommand::Set { domains, tailnet } => (domains, tailnet),
                SearchCommand::Clear { tailnet } => (Vec::new(), tailnet),
            };
            (Change::SearchDomains(DnsNames { values }), tailnet)
        }
        DnsCommand::Override(switch) => (Change::OverrideLocal(switch.is_on()), switch.tailnet),
        DnsCommand::Magic(switch) => (Change::MagicDns(switch.is_on()), switch.tailnet),
        DnsCommand::Suffix { suffix, tailnet } => (Change::MagicDnsSuffix(suffix), tailnet),
        DnsCommand::Split(SplitCommand::Set {
            suffix,
            addresses: nameservers,
            tailnet,
        }) => {
            let split = SplitDns {
                suffix,
                nameservers,
            };
            (Change::PutSplit(split), tailnet)
        }
        DnsCommand::Split(SplitCommand::Remove { suffix, tailnet }) => {
            (Change::RemoveSplit(suffix), tailnet)
        }
        DnsCommand::Records(RecordCommand::Add {
            name,
            r#type,
            value,
            tailnet,
        }) => (
            Change::PutRecord(dns_record(name, Some(r#type), value)),
            tailnet,
        ),
        DnsCommand::Records(RecordCommand::Remove {
            name,
            r#type,
            tailnet,
        }) => {
            let record = dns_record(name, r#type, String::new());
            (Change::RemoveRecord(record), tailnet)
        }
    };
    let request = UpdateDnsRequest {
        tailnet_id: tailnet.find_id(connection).await?,
        changes: vec![DnsChange {
            change: Some(change),
        }],
    };
    let mut client = TailnetServiceClient::new(connection.connect_to_identity()?);
    let changed = client.update_dns(request).await?.into_inner().tailnet;
    printer.print_row(&DnsRow::from(require_field(changed, "tailnet")?));
    Ok(())
}

fn dns_record(name: String, kind: Option<RecordType>, value: String) -> DnsRecord {
    let kind = match kind {
        Some(RecordType::A) => "A",
        Some(RecordType::Aaaa) => "AAAA",
        None => "",
    };
    DnsRecord {
        name,
        r#type: kind.to_owned(),
        value,
    }
}
