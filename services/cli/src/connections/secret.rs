//! A client's secret.

use std::{io::Read as _, path::PathBuf};

use bowline_proto::identity::v1::{Connection, UpdateConnectionRequest};
use clap::Args;
use prost_types::FieldMask;
use zeroize::Zeroizing;

use super::{connect, rows::ConnectionRow};
use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};

/// Where a secret comes from: never the command line, which others on the machine can read.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// A file with the client's secret; "-" reads it from standard input. Leave it out for a public client.
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
}

impl SecretArgs {
    pub(super) fn read_secret(&self) -> Result<Zeroizing<String>, Failure> {
        let Some(path) = &self.client_secret_file else {
            return Ok(Zeroizing::default());
        };
        let mut text = Zeroizing::new(String::new());
        let read = match path.as_os_str() == "-" {
            true => std::io::stdin().read_to_string(&mut text).map(drop),
            false => std::fs::File::open(path)
                .and_then(|mut file| file.read_to_string(&mut text).map(drop)),
        };
        if let Err(error) = read {
            let text = format!("the secret in {} can not be read: {error}", path.display());
            return Err(Failure::new(FailureKind::Failed, text));
        }
        Ok(Zeroizing::new(text.trim().to_owned()))
    }
}

/// Changes the client's secret.
pub(super) async fn set_secret(
    found: Connection,
    secret: &SecretArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let update_mask = Some(FieldMask {
        paths: vec!["client_secret".to_owned()],
    });
    let request = UpdateConnectionRequest {
        connection: Some(found),
        update_mask,
        client_secret: secret.read_secret()?.to_string(),
        ..UpdateConnectionRequest::default()
    };
    let answer = connect(server)?.update_connection(request).await?;
    let changed = answer.into_inner().connection.unwrap_or_default();
    printer.print_row(&ConnectionRow::from(changed));
    Ok(())
}
