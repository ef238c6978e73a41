//! headscale's settings: where its state is, and what its clients resolve names with.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use yaml_rust2::{Yaml, YamlLoader};

use crate::HeadscaleError;

/// The settings that matter for a move.
#[derive(Clone)]
pub struct HeadscaleConfig {
    /// The database, `sqlite://` or `postgres://`.
    pub database_url: String,
    /// The file with the key that clients know the server by.
    pub noise_key: Option<PathBuf>,
    /// Where the policy is.
    pub policy: PolicySource,
    /// The issuer of the identity provider, if people log in by one.
    pub issuer: Option<String>,
    /// What clients resolve names with.
    pub(crate) dns: DnsSection,
    /// Whether clients choose their ports at random.
    pub(crate) randomize_client_port: bool,
}

/// Where headscale's policy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// In a file.
    File(PathBuf),
    /// In the database.
    Database,
    /// There is none: everything is allowed.
    Absent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    noise: NoiseSection,
    database: DatabaseSection,
    policy: PolicySection,
    dns: DnsSection,
    oidc: OidcSection,
    randomize_client_port: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NoiseSection {
    private_key_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DatabaseSection {
    r#type: String,
    sqlite: SqliteSection,
    postgres: PostgresSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SqliteSection {
    path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PostgresSection {
    host: String,
    port: u16,
    name: String,
    user: String,
    pass: Value,
    ssl: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PolicySection {
    mode: String,
    path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OidcSection {
    issuer: String,
}

/// What clients resolve names with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DnsSection {
    /// Whether clients answer names of nodes.
    pub(crate) magic_dns: bool,
    /// What names of nodes end in.
    pub(crate) base_domain: String,
    /// Whether the nameservers replace those of the operating system; headscale does so when nothing is said.
    pub(crate) override_local_dns: Option<bool>,
    /// The nameservers.
    pub(crate) nameservers: NameserverSection,
    /// Search domains.
    pub(crate) search_domains: Vec<String>,
    /// More names.
    pub(crate) extra_records: Vec<ExtraRecord>,
    /// A file with more names, instead.
    pub(crate) extra_records_path: String,
}

/// Nameservers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NameserverSection {
    /// For everything.
    pub(crate) global: Vec<String>,
    /// For one suffix.
    pub(crate) split: BTreeMap<String, Vec<String>>,
}

/// A name that clients answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExtraRecord {
    /// The name.
    pub(crate) name: String,
    /// A or AAAA.
    pub(crate) r#type: String,
    /// The address.
    pub(crate) value: String,
}

impl fmt::Debug for HeadscaleConfig {
    /// Leaves out the database's URL, which has a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HeadscaleConfig")
            .field("noise_key", &self.noise_key)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl HeadscaleConfig {
    /// Reads the settings file, and the file with more names if it has one. Paths in it are relative to its directory, as
    /// they are for headscale.
    ///
    /// # Errors
    ///
    /// What is wrong with a file.
    pub fn load(path: &Path) -> Result<Self, HeadscaleError> {
        let wrong = |problem: String| HeadscaleError::Content {
            path: path.to_owned(),
            problem,
        };
        let text = read_file(path)?;
        let documents =
            YamlLoader::load_from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let value = documents.into_iter().next().map_or(Value::Null, to_json);
        let mut file: ConfigFile = serde_json::from_value(without_nulls(value))
            .map_err(|error| wrong(error.to_string()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let beside = |text: &str| directory.join(text);
        if !file.dns.extra_records_path.is_empty() {
            let path = beside(&file.dns.extra_records_path);
            file.dns.extra_records = serde_json::from_str(&read_file(&path)?).map_err(|error| {
                HeadscaleError::Content {
                    path,
                    problem: error.to_string(),
                }
            })?;
        }
        let database_url = match &*file.database.r#type {
            "sqlite" | "sqlite3" => sqlite_url(&beside(&file.database.sqlite.path)),
            "postgres" => postgres_url(&file.database.postgres)
                .ok_or_else(|| wrong("database.postgres names no database".to_owned()))?,
            other => {
                let problem = format!("database.type is \"{other}\", and not sqlite or postgres");
                return Err(wrong(problem));
            }
        };
        let policy = match (&*file.policy.mode, &*file.policy.path) {
            ("database", _) => PolicySource::Database,
            (_, "") => PolicySource::Absent,
            (_, path) => PolicySource::File(beside(path)),
        };
        let named = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Self {
            database_url,
            noise_key: named(file.noise.private_key_path).map(|path| beside(&path)),
            policy,
            issuer: named(file.oidc.issuer),
            dns: file.dns,
            randomize_client_port: file.randomize_client_port,
        })
    }
}

/// Reads a text file.
fn read_file(path: &Path) -> Result<String, HeadscaleError> {
    fs::read_to_string(path).map_err(|source| HeadscaleError::File {
        path: path.to_owned(),
        source,
    })
}

fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

fn postgres_url(given: &PostgresSection) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if given.name.is_empty() {
        return None;
    }
    let mut url = Url::parse("postgres://localhost").ok()?;
    url.set_path(&given.name);
    url.set_username(&given.user).ok()?;
    let password = text(&given.pass);
    url.set_password(Some(&*password).filter(|password| !password.is_empty()))
        .ok()?;
    let mode = match &*text(&given.ssl) {
        "true" | "require" => "require",
        "" | "false" | "disable" => "disable",
        other => other,
    }
    .to_owned();
    url.query_pairs_mut().append_pair("sslmode", &mode);
    if given.host.starts_with('/') {
        // A directory with the socket.
        url.query_pairs_mut().append_pair("host", &given.host);
    } else {
        url.set_host(Some(&given.host)).ok()?;
    }
    if given.port != 0 {
        url.set_port(Some(given.port)).ok()?;
    }
    Some(url.into())
}

fn to_json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Boolean(is) => Value::from(is),
        Yaml::Integer(number) => Value::from(number),
        Yaml::Real(text) | Yaml::String(text) => Value::from(text),
        Yaml::Array(items) => items.into_iter().map(to_json).collect(),
        Yaml::Hash(members) => {
            let named = members.into_iter().filter_map(|(name, value)| {
                Some((name.into_string()?.to_lowercase(), to_json(value)))
            });
            Value::Object(named.collect())
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

/// Leaves out what has no value, as if it were not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let given = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                given
                    .map(|(name, value)| (name, without_nulls(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
