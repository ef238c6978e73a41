//! `bowline policy`.

mod access;
mod edit;
mod inventory;
mod problems;

use std::path::PathBuf;

use bowline_proto::policy::v1::{
    GetPolicyRequest, ListPolicyVersionsRequest, PolicyVersion, SetPolicyRequest,
    policy_service_client::PolicyServiceClient,
};
use bowline_service_kit::GrpcChannel;
use clap::Subcommand;
pub use problems::DocumentFindings;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
    output::{Printer, Row},
    time,
};

/// The longest document and what travels with it.
const LONGEST: usize = 17 << 20;

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print the document in force, or an older version.
    Get {
        /// The version; the one in force when not given.
        #[arg(long, default_value_t = 0)]
        version: u64,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Put a document in force.
    Set {
        /// The file.
        file: PathBuf,
        /// Refuse unless this version is in force now.
        #[arg(long)]
        expected_version: Option<u64>,
        /// Refuse a document that there are warnings of.
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Edit the document in force with $VISUAL or $EDITOR.
    Edit {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Say what is wrong with a document; asks no server.
    Check {
        /// The file.
        file: PathBuf,
        /// Users and nodes to run the document's tests against, as `bowline policy inventory` prints them.
        #[arg(long)]
        inventory: Option<PathBuf>,
        /// Refuse a document that there are warnings of.
        #[arg(long)]
        strict: bool,
    },
    /// Print the users and nodes that the policy judges, for `bowline policy check --inventory`.
    Inventory {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Say whose access a document would change, without putting it in force.
    Preview {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Say which rules let a node reach another, or why none does.
    Explain {
        /// The node that connects, by name or number.
        source: String,
        /// The node it connects to.
        destination: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Put an older version in force again, as a new version.
    Rollback {
        /// The version.
        version: u64,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// List the versions.
    History {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// A version as shown.
#[derive(Debug, Serialize)]
struct PolicyVersionRow {
    version: u64,
    author: String,
    created_at: Option<String>,
}

impl From<PolicyVersion> for PolicyVersionRow {
    fn from(version: PolicyVersion) -> Self {
        let PolicyVersion {
            version,
            author,
            created_at,
            ..
        } = version;
        Self {
            version,
            author,
            created_at: time::time_text(created_at),
        }
    }
}

impl Row for PolicyVersionRow {
    const HEADS: &'static [&'static str] = &["version", "author", "stored"];

    fn table_cells(&self) -> Vec<String> {
        let stored = self.created_at.clone().unwrap_or_default();
        vec![self.version.to_string(), self.author.clone(), stored]
    }
}

/// A version that was just stored, as shown.
#[derive(Debug, Serialize)]
struct Stored {
    #[serde(flatten)]
    version: PolicyVersionRow,
    /// What of the document does not do what it says.
    warnings: Vec<Value>,
}

impl Row for Stored {
    const HEADS: &'static [&'static str] = PolicyVersionRow::HEADS;

    fn table_cells(&self) -> Vec<String> {
        self.version.table_cells()
    }
}

/// Runs a command.
pub async fn run(
    command: PolicyCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let connect = || -> Result<_, Failure> {
        let client = PolicyServiceClient::new(connection.connect_to_compiler()?);
        Ok(client
            .max_decoding_message_size(LONGEST)
            .max_encoding_message_size(LONGEST))
    };
    match command {
        PolicyCommand::Check {
            file,
            inventory,
            strict,
        } => inventory::check_file(printer, &file, inventory.as_deref(), strict)?,
        PolicyCommand::Inventory { tailnet } => {
            inventory::print_inventory(connection, printer, &tailnet).await?;
        }
        PolicyCommand::Get { version, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let found = get(&mut connect()?, tailnet_id, version).await?;
            if found.version == 0 {
                printer.print_result(
                    &json!({ "version": 0, "text": "" }),
                    "// no policy: everything is allowed",
                );
            } else {
                let value = json!({ "version": found.version, "text": found.text });
                printer.print_document(&value, &found.text);
            }
        }
        PolicyCommand::Set {
            file,
            expected_version,
            strict,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let request = SetPolicyRequest {
                tailnet_id,
                text: read_document(&file)?,
                expected_version,
                strict,
            };
            let name = file.display().to_string();
            let stored = set(&mut connect()?, printer, &name, request).await?;
            printer.print_row(&stored);
        }
        PolicyCommand::Edit { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            edit::edit_policy(&mut connect()?, printer, tailnet_id).await?;
        }
        PolicyCommand::Preview { file, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            access::preview_access(&mut connect()?, connection, printer, tailnet_id, &file).await?;
        }
        PolicyCommand::Explain {
            source,
            destination,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let nodes = access::NamedNodes {
                source: &source,
                destination: &destination,
            };
            access::explain_access(&mut connect()?, connection, printer, tailnet_id, nodes).await?;
        }
        PolicyCommand::Rollback { version, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let stored = roll_back(&mut connect()?, printer, tailnet_id, version).await?;
            printer.print_row(&stored);
        }
        PolicyCommand::History { tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let versions = list_versions(&mut connect()?, tailnet_id).await?;
            let rows: Vec<_> = versions.into_iter().map(PolicyVersionRow::from).collect();
            printer.print_rows(&rows);
        }
    }
    Ok(())
}

/// Returns all versions without their text, newest first.
async fn list_versions(
    client: &mut PolicyServiceClient<GrpcChannel>,
    tailnet_id: u64,
) -> Result<Vec<PolicyVersion>, Failure> {
    let mut versions: Vec<PolicyVersion> = Vec::new();
    loop {
        let before = versions.last().map_or(0, |oldest| oldest.version);
        let request = ListPolicyVersionsRequest { tailnet_id, before };
        let page = client.list_policy_versions(request).await?.into_inner();
        let reaches_first = page
            .versions
            .last()
            .is_none_or(|oldest| oldest.version <= 1);
        versions.extend(page.versions);
        if reaches_first {
            return Ok(versions);
        }
    }
}

/// Puts an older version in force again, unless somebody stores one meanwhile.
async fn roll_back(
    client: &mut PolicyServiceClient<GrpcChannel>,
    printer: &Printer,
    tailnet_id: u64,
    version: u64,
) -> Result<Stored, Failure> {
    let in_force = get(client, tailnet_id, 0).await?.version;
    let request = SetPolicyRequest {
        tailnet_id,
        text: get(client, tailnet_id, version).await?.text,
        expected_version: Some(in_force),
        strict: false,
    };
    set(client, printer, &format!("version {version}"), request).await
}

/// Returns a version; zero for the one in force.
async fn get(
    client: &mut PolicyServiceClient<GrpcChannel>,
    tailnet_id: u64,
    version: u64,
) -> Result<PolicyVersion, Failure> {
    let request = GetPolicyRequest {
        tailnet_id,
        version,
    };
    let answer = client.get_policy(request).await?.into_inner();
    require_field(answer.version, "policy version")
}

/// Puts a document in force; its mistakes, which refuse it, and warnings are printed, with `name` for its place.
async fn set(
    client: &mut PolicyServiceClient<GrpcChannel>,
    printer: &Printer,
    name: &str,
    request: SetPolicyRequest,
) -> Result<Stored, Failure> {
    let answer = client.set_policy(request).await?.into_inner();
    let findings = DocumentFindings {
        problems: answer.problems,
        warnings: answer.warnings,
    };
    findings.report_problems(printer, name)?;
    Ok(Stored {
        version: PolicyVersionRow::from(require_field(answer.version, "policy version")?),
        warnings: problems::problem_values(&findings.warnings),
    })
}

fn read_document(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::new(FailureKind::Failed, format!("{}: {error}", file.display())))
}
