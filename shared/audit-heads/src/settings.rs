//! The `[audit]` table, as destinations.

use bowline_service_kit::{AuditConfig, AuditStoreConfig, config::Secret};
use http::Uri;

use crate::{AuditKeyError, destination::HeadDestination, s3::S3Store};

/// What is wrong with the `[audit]` table.
#[derive(Debug, thiserror::Error)]
pub enum AuditSettingsError {
    /// Heads are to be exported, and there is no key.
    #[error(
        "audit.signing_key is not set: heads are exported signed. `bowline audit-key create FILE` makes a key, name the file in audit.signing_key_file"
    )]
    NoKey,
    /// The key is none.
    #[error("audit.signing_key: {0}")]
    Key(#[from] AuditKeyError),
    /// A URL is none, or has parts that are not sent.
    #[error("audit.{0} is no http or https URL with a host, without a user name or a fragment")]
    Url(&'static str),
    /// What names objects has other signs.
    #[error(
        "audit.s3.{0} is empty, or has other signs than letters, digits, \"/\", \"-\", \"_\" and \".\""
    )]
    Name(&'static str),
    /// A part of the destination would be left out.
    #[error("audit.{setting} {problem}")]
    Unusable {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Returns the destinations that the settings name. What names none is refused, and not left out.
pub(crate) fn read_destinations(
    config: &AuditConfig,
) -> Result<Vec<HeadDestination>, AuditSettingsError> {
    let mut found = Vec::new();
    let is_set = |secret: &Option<Secret>| {
        secret
            .as_ref()
            .is_some_and(|secret| !secret.expose().is_empty())
    };
    let unusable = |setting, problem| Err(AuditSettingsError::Unusable { setting, problem });
    if config.webhook_url.is_none() && is_set(&config.webhook_token) {
        return unusable("webhook_token", "is set, and webhook_url is not");
    }
    let store = &config.s3;
    let store_is_named = !store.endpoint.is_empty()
        || !store.access_key_id.is_empty()
        || is_set(&store.secret_access_key);
    if store.bucket.is_empty() && store_is_named {
        return unusable(
            "s3.bucket",
            "is not set, and other settings of the store are",
        );
    }
    if let Some(directory) = &config.directory {
        found.push(HeadDestination::Directory(directory.clone()));
    }
    if let Some(url) = &config.webhook_url {
        found.push(HeadDestination::Webhook {
            url: read_url("webhook_url", url)?,
            token: config
                .webhook_token
                .clone()
                .filter(|token| !token.expose().is_empty()),
        });
    }
    if !store.bucket.is_empty() {
        found.push(HeadDestination::S3(read_store(store)?));
    }
    Ok(found)
}

fn read_url(setting: &'static str, text: &str) -> Result<Uri, AuditSettingsError> {
    let url: Option<Uri> = text.parse().ok();
    let fits = |url: &Uri| {
        let names_a_user = url
            .authority()
            .is_some_and(|part| part.as_str().contains('@'));
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some() && !names_a_user
    };
    if text.contains('#') {
        return Err(AuditSettingsError::Url(setting));
    }
    url.filter(fits).ok_or(AuditSettingsError::Url(setting))
}

fn read_store(config: &AuditStoreConfig) -> Result<S3Store, AuditSettingsError> {
    let is_plain = |text: &str| {
        text.chars()
            .all(|sign| sign.is_ascii_alphanumeric() || "/-_.".contains(sign))
    };
    for (setting, text, may_be_empty) in [
        ("bucket", &config.bucket, false),
        ("prefix", &config.prefix, true),
        ("region", &config.region, false),
        ("access_key_id", &config.access_key_id, false),
    ] {
        if !is_plain(text) || (text.is_empty() && !may_be_empty) {
            return Err(AuditSettingsError::Name(setting));
        }
    }
    let endpoint = read_url("s3.endpoint", &config.endpoint)?;
    if !matches!(
        endpoint.path_and_query().map(|part| part.as_str()),
        None | Some("/")
    ) {
        return Err(AuditSettingsError::Unusable {
            setting: "s3.endpoint",
            problem: "has a path: it is scheme and host, and the bucket is named by itself",
        });
    }
    let secret = config.secret_access_key.clone();
    let secret = secret.filter(|secret| !secret.expose().is_empty());
    Ok(S3Store {
        endpoint,
        region: config.region.clone(),
        bucket: config.bucket.clone(),
        prefix: config.prefix.clone(),
        access_key_id: config.access_key_id.clone(),
        secret_access_key: secret.ok_or(AuditSettingsError::Unusable {
            setting: "s3.secret_access_key",
            problem: "is empty",
        })?,
    })
}
