//! `bowline policy`.

use std::path::PathBuf;

use bowline_policy::Policy;
use bowline_proto::policy::v1::{
    GetPolicyRequest, ListPolicyVersionsRequest, PolicyProblem, PolicyVersion, SetPolicyRequest,
    policy_service_client::PolicyServiceClient,
};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, Kind},
    output::{Printer, Row},
    time,
};

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub enum Command {
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
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Say what is wrong with a document; asks no server.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// List the versions.
    History {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// A version as shown.
#[derive(Debug, Serialize)]
struct Shown {
    version: u64,
    author: String,
    created_at: Option<String>,
}

impl From<PolicyVersion> for Shown {
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
            created_at: time::text(created_at),
        }
    }
}

impl Row for Shown {
    const HEADS: &'static [&'static str] = &["version", "author", "stored"];

    fn cells(&self) -> Vec<String> {
        let stored = self.created_at.clone().unwrap_or_default();
        vec![self.version.to_string(), self.author.clone(), stored]
    }
}

/// Runs a command.
pub async fn run(
    command: Command,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = PolicyServiceClient::new(connection.compiler()?);
    match command {
        Command::Get { version, tailnet } => {
            let tailnet_id = tailnet.find(connection).await?.id;
            let request = GetPolicyRequest {
                tailnet_id,
                version,
            };
            let found = client
                .get_policy(request)
                .await?
                .into_inner()
                .version
                .unwrap_or_default();
            if found.version == 0 {
                printer.said(
                    &json!({ "version": 0, "text": "" }),
                    "// no policy: everything is allowed",
                );
            } else {
                let value = json!({ "version": found.version, "text": found.text });
                printer.said(&value, found.text.trim_end());
            }
        }
        Command::Set {
            file,
            expected_version,
            tailnet,
        } => {
            let tailnet_id = tailnet.find(connection).await?.id;
            let text = read(&file)?;
            let request = SetPolicyRequest {
                tailnet_id,
                text,
                expected_version,
            };
            let answer = client.set_policy(request).await?.into_inner();
            complain(printer, &file, &answer.problems)?;
            printer.one(&Shown::from(answer.version.unwrap_or_default()));
        }
        Command::Check { file } => {
            let problems = Policy::parse(&read(&file)?, &std::collections::BTreeSet::new())
                .err()
                .unwrap_or_default();
            let problems: Vec<_> = problems
                .into_iter()
                .map(|problem| PolicyProblem {
                    line: problem.line,
                    column: problem.column,
                    message: problem.message,
                    hint: problem.hint,
                })
                .collect();
            complain(printer, &file, &problems)?;
            printer.said(&json!({ "problems": [] }), "the policy is valid");
        }
        Command::History { tailnet } => {
            let tailnet_id = tailnet.find(connection).await?.id;
            let request = ListPolicyVersionsRequest { tailnet_id };
            let versions = client
                .list_policy_versions(request)
                .await?
                .into_inner()
                .versions;
            printer.list(&versions.into_iter().map(Shown::from).collect::<Vec<_>>());
        }
    }
    Ok(())
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Kind::Failed, format!("{}: {error}", file.display())))
}

/// Prints what is wrong with a document, if anything is, and fails then.
fn complain(
    printer: &Printer,
    file: &std::path::Path,
    problems: &[PolicyProblem],
) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| {
            let hint = if problem.hint.is_empty() {
                String::new()
            } else {
                format!(" ({})", problem.hint)
            };
            format!(
                "{}:{}:{}: {}{hint}",
                file.display(),
                problem.line,
                problem.column,
                problem.message
            )
        })
        .collect();
    let values: Vec<_> = problems
        .iter()
        .map(|problem| {
            json!({ "line": problem.line, "column": problem.column, "message": problem.message, "hint": problem.hint })
        })
        .collect();
    printer.said(&json!({ "problems": values }), &lines.join("\n"));
    Err(Failure::new(
        Kind::Refused,
        "the policy was refused; the one in force stays",
    ))
}
