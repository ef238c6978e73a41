//! Which databases a command is about: those of a state directory, or those of separate processes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bowline_service_kit::ServiceName;
use bowline_standalone::{OwnerDatabase, owner_databases};
use clap::Args;
use zeroize::Zeroizing;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
};

/// The databases of separate processes.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// The PostgreSQL database of separate processes, as a URL. Where services have databases of their own, once for each as
    /// `SERVICE=URL`, such as `identity=postgres://db.internal/identity`.
    #[arg(long, value_name = "[SERVICE=]URL", conflicts_with = "database_file")]
    database: Vec<String>,
    /// The file with the URL of the PostgreSQL database.
    #[arg(long)]
    database_file: Option<PathBuf>,
}

/// The URL of each service's database.
pub type OwnerUrls = Vec<(OwnerDatabase, Zeroizing<String>)>;

impl DatabaseArgs {
    /// Says whether databases of separate processes are named.
    pub fn is_given(&self) -> bool {
        !self.database.is_empty() || self.database_file.is_some()
    }

    /// Returns the databases of separate processes, or of the state directory when none are named.
    pub fn read_urls(&self, connection: &ConnectionArgs) -> Result<OwnerUrls, Failure> {
        if !self.is_given() {
            return Ok(list_state_urls(&connection.state_dir));
        }
        let from_file = match &self.database_file {
            Some(file) => {
                let text = fs::read_to_string(file).map_err(|error| {
                    let text = format!("{} can not be read: {error}", file.display());
                    Failure::new(FailureKind::Failed, text)
                })?;
                Some(Zeroizing::new(text))
            }
            None => None,
        };
        let given: Vec<&str> = from_file
            .iter()
            .map(|text| text.trim())
            .chain(self.database.iter().map(|text| &**text))
            .collect();
        for name in given.iter().filter_map(|text| named_service(text)) {
            let owners = owner_databases().map(|owner| owner.service.as_str());
            if !owners.contains(&name) {
                let text = format!("\"{name}\" has no database: {} have", owners.join(", "));
                return Err(Failure::new(FailureKind::Failed, text));
            }
        }
        let urls = owner_databases().into_iter().map(|owner| {
            let url = find_url(&given, owner.service)?;
            Ok((owner, Zeroizing::new(url.to_owned())))
        });
        urls.collect()
    }
}

/// Returns the databases of a state directory.
pub fn list_state_urls(state_dir: &Path) -> OwnerUrls {
    let url = |owner: OwnerDatabase| {
        let url = OwnerDatabase::state_url(state_dir, owner.service);
        (owner, Zeroizing::new(url))
    };
    owner_databases().into_iter().map(url).collect()
}

/// Returns the service that `SERVICE=URL` names.
fn named_service(text: &str) -> Option<&str> {
    let (name, _) = text.split_once('=')?;
    (!name.contains(':')).then_some(name)
}

/// Returns the URL given for a service, or for all.
fn find_url<'u>(given: &[&'u str], service: ServiceName) -> Result<&'u str, Failure> {
    let own = given.iter().find_map(|text| {
        let (name, url) = text.split_once('=')?;
        (name == service.as_str()).then_some(url)
    });
    let common = || given.iter().find(|text| text.starts_with("postgres"));
    let url = own.or_else(|| common().copied()).ok_or_else(|| {
        let text = format!(
            "no database of {service} is named: give --database URL, or --database {service}=URL",
            service = service.as_str()
        );
        Failure::new(FailureKind::Failed, text)
    })?;
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(url);
    }
    let text = "a database of separate processes begins with postgres://";
    Err(Failure::new(FailureKind::Failed, text))
}
