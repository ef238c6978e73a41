//! A private SAML identity provider: the package `samlp` for Node.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::node::NodeServer;

/// How many keys it has, one after the other.
const KEYS: usize = 2;

/// A SAML identity provider of its own. It lets in whoever says a name.
#[derive(Debug)]
pub struct SamlpServer(NodeServer);

impl SamlpServer {
    /// Starts a provider; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start() -> Result<Option<Self>> {
        let started = NodeServer::start("samlp", "SAMLP_DIR", |directory| {
            (1..=KEYS).try_for_each(|number| make_key(directory, number))
        })?;
        Ok(started.map(Self))
    }

    /// Returns where it is reached.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin()
    }

    /// Returns where its metadata is.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}/metadata", self.origin())
    }
}

fn make_key(directory: &Path, number: usize) -> Result<()> {
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=provider", "-keyout"])
        .arg(directory.join(format!("key-{number}.pem")))
        .arg("-out")
        .arg(directory.join(format!("certificate-{number}.pem")))
        .output()?;
    ensure!(output.status.success(), "openssl: {output:?}");
    Ok(())
}
