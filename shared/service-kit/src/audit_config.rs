//! `[audit]` of an owner's settings: where the heads of its audit trails are exported to.

use std::path::PathBuf;

use serde::Deserialize;

use crate::{KeyCommandError, config::Secret, run_key_command};

/// The `[audit]` table. Without a destination nothing is exported.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// What heads are signed with: the text of the file that `bowline audit-key create` makes, the same for all owners.
    pub signing_key: Option<Secret>,
    /// A command that prints that text, such as one that asks a key management service, in place of `signing_key`. It is run once
    /// at the start, by `sh -c`.
    pub signing_key_command: Option<String>,
    /// How often heads that are new are exported, in seconds.
    pub export_seconds: u32,
    /// A directory with a file for each owner that is only added to. It is of use where the server can not rewrite it: on
    /// another machine, or with the append-only attribute.
    pub directory: Option<PathBuf>,
    /// A URL that takes the lines of heads by POST.
    pub webhook_url: Option<String>,
    /// What is shown there, as `Authorization: Bearer …`.
    pub webhook_token: Option<Secret>,
    /// `[audit.s3]`: a store that speaks S3.
    pub s3: AuditStoreConfig,
}

/// Why there is no key to sign heads with.
#[derive(Debug, thiserror::Error)]
pub enum AuditKeySourceError {
    /// The key comes from two places.
    #[error("audit.signing_key and audit.signing_key_command are both set: name one of them")]
    Both,
    /// The command gives none.
    #[error("audit.signing_key_command: {0}")]
    Command(#[from] KeyCommandError),
}

/// The `[audit.s3]` table: a bucket, best with object lock, so that nothing there is changed or deleted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditStoreConfig {
    /// The bucket; nothing is put anywhere when it is empty.
    pub bucket: String,
    /// The store's URL, without the bucket.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// What the names of objects begin with.
    pub prefix: String,
    /// The id of the key that may put objects.
    pub access_key_id: String,
    /// That key's secret.
    pub secret_access_key: Option<Secret>,
}

impl AuditConfig {
    /// Says whether heads are exported anywhere.
    #[must_use]
    pub fn has_destination(&self) -> bool {
        self.directory.is_some() || self.webhook_url.is_some() || !self.s3.bucket.is_empty()
    }

    /// Runs the command that prints the key, where there is one and heads are exported: `signing_key` is then what it prints.
    ///
    /// # Errors
    ///
    /// When a key is named besides, or the command gives none.
    pub async fn read_signing_key(&mut self) -> Result<(), AuditKeySourceError> {
        let Some(command) = self.signing_key_command.take() else {
            return Ok(());
        };
        if self.signing_key.is_some() {
            return Err(AuditKeySourceError::Both);
        }
        if self.has_destination() {
            let printed = run_key_command(&command).await?;
            self.signing_key = Some(Secret::new(printed.as_str().to_owned()));
        }
        Ok(())
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            signing_key: None,
            signing_key_command: None,
            export_seconds: 600,
            directory: None,
            webhook_url: None,
            webhook_token: None,
            s3: AuditStoreConfig::default(),
        }
    }
}

impl Default for AuditStoreConfig {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            prefix: "bowline/".to_owned(),
            access_key_id: String::new(),
            secret_access_key: None,
        }
    }
}

#[cfg(test)]
mod tests;
