//! `bowline key-policy`.

mod document;

use std::{fs, path::PathBuf};

use bowline_proto::identity::v1::{
    Tailnet, UpdateTailnetRequest, tailnet_service_client::TailnetServiceClient,
};
use clap::Subcommand;
use prost_types::FieldMask;

use crate::{
    administer::{TailnetArg, resolve_tailnet},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
    output::Printer,
};
use document::KeyPolicyDocument;

/// What to do with the key policy.
#[derive(Debug, Subcommand)]
pub enum KeyPolicyCommand {
    /// Print it, as a document for `bowline key-policy set`.
    Show {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Put a document in force, for keys that are there as well. {} allows everything.
    Set {
        /// The file: JSON.
        file: PathBuf,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// Runs a command.
pub async fn run(
    command: KeyPolicyCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let tailnet = match command {
        KeyPolicyCommand::Show { tailnet } => {
            let found = tailnet.find_tailnet(connection).await?;
            resolve_tailnet(connection, found.id).await?
        }
        KeyPolicyCommand::Set { file, tailnet } => {
            let failure = |problem: String| {
                let text = format!("{}: {problem}", file.display());
                Failure::new(FailureKind::Failed, text)
            };
            let text = fs::read_to_string(&file).map_err(|error| failure(error.to_string()))?;
            let policy = KeyPolicyDocument::parse(&text).map_err(failure)?;
            let request = UpdateTailnetRequest {
                tailnet: Some(Tailnet {
                    key_policy: Some(policy),
                    ..tailnet.find_tailnet(connection).await?
                }),
                update_mask: Some(FieldMask {
                    paths: vec!["key_policy".to_owned()],
                }),
            };
            let mut client = TailnetServiceClient::new(connection.connect_to_identity()?);
            let answer = client.update_tailnet(request).await?.into_inner();
            for warning in &answer.warnings {
                printer.warn_always(warning);
            }
            require_field(answer.tailnet, "tailnet")?
        }
    };
    let document = KeyPolicyDocument::from_policy(tailnet.key_policy.unwrap_or_default());
    printer.print_json(&document);
    Ok(())
}
