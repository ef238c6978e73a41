//! The settings, and what they come to.

use std::{error::Error, fmt, net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use crate::{
    challenge::ChallengeKind,
    host::{UnfitHost, normalize_host},
};

/// The authority that is asked unless the settings name another.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The most names of a certificate: more the best-known authorities put into none.
const MOST_HOSTS: usize = 100;

/// The `acme` table: a certificate from a public authority, or from one of your own that speaks ACME.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeConfig {
    /// Whether you agree to the authority's terms of service. `true` turns ACME on.
    pub agree_to_terms: bool,
    /// The URL of the authority's directory; Let's Encrypt's when not given.
    pub directory_url: String,
    /// The authorities (PEM) that the directory's own certificate may be from, in place of the machine's: for a private
    /// authority.
    pub directory_ca_file: Option<PathBuf>,
    /// An e-mail address that the authority may write to.
    pub contact: Option<String>,
    /// The names the certificate is for, that of the public URL among them; that alone when not given. The first stands for
    /// all in the names of files.
    pub hosts: Vec<String>,
    /// Where HTTP-01 challenges are answered, such as `0.0.0.0:80`. Without it they are of the kind TLS-ALPN-01, which are
    /// answered where clients connect.
    pub http_listen: Option<SocketAddr>,
    /// The directory with account, certificate and key, the same for all processes that serve these hosts.
    pub state_dir: PathBuf,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            agree_to_terms: false,
            directory_url: LETS_ENCRYPT.to_owned(),
            directory_ca_file: None,
            contact: None,
            hosts: Vec::new(),
            http_listen: None,
            state_dir: PathBuf::from("acme"),
        }
    }
}

/// A setting that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcmeSettingsError {
    /// ACME was set up and not turned on.
    #[error(
        "acme.{setting} is set and acme.agree_to_terms is not: read the terms of service that {directory_url} names, and set acme.agree_to_terms = true if you agree"
    )]
    NotAgreed {
        /// What was set.
        setting: &'static str,
        /// Where the terms are named.
        directory_url: String,
    },
    /// The directory has no URL that can be asked.
    #[error("acme.directory_url \"{0}\" is no https URL, such as {LETS_ENCRYPT}")]
    DirectoryUrl(String),
    /// The contact is no address.
    #[error("acme.contact \"{0}\" is no e-mail address, such as admin@example.com")]
    Contact(String),
    /// A host is an address.
    #[error(
        "acme: no certificate can be ordered for the address {0}: let public_url have a name, or name hosts in acme.hosts"
    )]
    Address(String),
    /// A host stands for many.
    #[error(
        "acme: no certificate can be ordered for {0}: the challenges that are answered here (TLS-ALPN-01 and HTTP-01) prove single names only. Name each host in acme.hosts, or get a certificate for all by a DNS challenge and name its file in certificate_file"
    )]
    Wildcard(String),
    /// A host is none.
    #[error("acme: \"{0}\" is no host name, such as vpn.example.com")]
    NoName(String),
    /// The hosts lack the one that clients are given.
    #[error("acme.hosts does not name {0}, where clients connect: add it")]
    LacksOwn(String),
    /// There are too many hosts.
    #[error("acme.hosts has {0} names, and a certificate has at most {MOST_HOSTS}")]
    TooMany(usize),
}

/// All settings that do not fit, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitAcmeSettings(pub Vec<AcmeSettingsError>);

impl fmt::Display for UnfitAcmeSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

impl Error for UnfitAcmeSettings {}

/// Settings that fit: what is ordered, where, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmePlan {
    pub(crate) directory_url: String,
    pub(crate) directory_ca_file: Option<PathBuf>,
    pub(crate) contact: Option<String>,
    /// At least one, the first being what files are called by.
    pub(crate) hosts: Vec<String>,
    pub(crate) http_listen: Option<SocketAddr>,
    pub(crate) state_dir: PathBuf,
}

impl AcmePlan {
    /// Returns the kind of challenge that is answered.
    pub(crate) fn challenge_kind(&self) -> ChallengeKind {
        match self.http_listen {
            Some(_) => ChallengeKind::Http,
            None => ChallengeKind::TlsAlpn,
        }
    }

    /// Says whether the certificate is for a host.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        normalize_host(host).is_ok_and(|name| self.hosts.contains(&name))
    }

    /// Returns the names the certificate is for.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }
}

impl AcmeConfig {
    /// Returns what the settings come to for a server that clients reach at `own_host`; `None` where ACME is not asked for.
    ///
    /// # Errors
    ///
    /// Every setting that does not fit.
    pub fn plan(&self, own_host: &str) -> Result<Option<AcmePlan>, UnfitAcmeSettings> {
        if !self.agree_to_terms {
            return match self.first_setting() {
                None => Ok(None),
                Some(setting) => Err(UnfitAcmeSettings(vec![AcmeSettingsError::NotAgreed {
                    setting,
                    directory_url: self.directory_url.clone(),
                }])),
            };
        }
        let mut problems = Vec::new();
        let url = self.directory_url.parse::<http::Uri>().ok();
        let is_https = url.is_some_and(|url| {
            url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty())
        });
        if !is_https {
            problems.push(AcmeSettingsError::DirectoryUrl(self.directory_url.clone()));
        }
        if let Some(contact) = &self.contact
            && !is_mail_address(contact)
        {
            problems.push(AcmeSettingsError::Contact(contact.clone()));
        }
        let hosts = self.find_hosts(own_host, &mut problems);
        if !problems.is_empty() {
            return Err(UnfitAcmeSettings(problems));
        }
        Ok(Some(AcmePlan {
            directory_url: self.directory_url.clone(),
            directory_ca_file: self.directory_ca_file.clone(),
            contact: self.contact.clone(),
            hosts,
            http_listen: self.http_listen,
            state_dir: self.state_dir.clone(),
        }))
    }

    fn find_hosts(&self, own_host: &str, problems: &mut Vec<AcmeSettingsError>) -> Vec<String> {
        let own = [own_host.to_owned()];
        let given = if self.hosts.is_empty() {
            &own[..]
        } else {
            &self.hosts
        };
        if given.len() > MOST_HOSTS {
            problems.push(AcmeSettingsError::TooMany(given.len()));
        }
        let mut hosts = Vec::new();
        for host in given {
            let problem = match normalize_host(host) {
                Ok(name) if hosts.contains(&name) => continue,
                Ok(name) => {
                    hosts.push(name);
                    continue;
                }
                Err(UnfitHost::Address) => AcmeSettingsError::Address,
                Err(UnfitHost::Wildcard) => AcmeSettingsError::Wildcard,
                Err(UnfitHost::NoName) => AcmeSettingsError::NoName,
            };
            problems.push(problem(host.clone()));
        }
        let has_own = normalize_host(own_host).is_ok_and(|own| hosts.contains(&own));
        if problems.is_empty() && !has_own {
            problems.push(AcmeSettingsError::LacksOwn(own_host.to_owned()));
        }
        hosts
    }

    /// Returns a setting that says that ACME is wanted.
    fn first_setting(&self) -> Option<&'static str> {
        let usual = Self::default();
        let settings = [
            ("directory_url", self.directory_url != usual.directory_url),
            ("directory_ca_file", self.directory_ca_file.is_some()),
            ("contact", self.contact.is_some()),
            ("hosts", !self.hosts.is_empty()),
            ("http_listen", self.http_listen.is_some()),
        ];
        let set = settings.into_iter().find(|(_, is_set)| *is_set);
        set.map(|(setting, _)| setting)
    }
}

fn is_mail_address(text: &str) -> bool {
    let is_plain = text
        .chars()
        .all(|letter| letter.is_ascii_graphic() && !matches!(letter, ':' | ',' | '?'));
    let parts = text.split_once('@');
    is_plain && parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

#[cfg(test)]
mod tests;
