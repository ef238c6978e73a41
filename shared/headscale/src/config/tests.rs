use std::{fs, path::Path};

use super::{HeadscaleConfig, PolicySource};

fn load(text: &str) -> Result<HeadscaleConfig, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.yaml");
    fs::write(&path, text).expect("it is written");
    HeadscaleConfig::load(&path).map_err(|error| error.to_string())
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

#[test]
fn paths_are_beside_the_file_unless_they_are_whole() {
    let text = "
server_url: https://vpn.example.com
noise:
  private_key_path: noise_private.key
database:
  type: sqlite3
  sqlite: {path: /var/lib/headscale/db.sqlite}
policy:
  path: acl.hujson
";
    let config = load(text).expect("it is right");
    assert_eq!(config.database_url, "sqlite:///var/lib/headscale/db.sqlite");
    let key = config.noise_key.as_deref().expect("it is named");
    assert!(key.is_absolute() && file_name(key) == Some("noise_private.key"));
    let PolicySource::File(policy) = &config.policy else {
        panic!("it is a file: {:?}", config.policy)
    };
    assert_eq!(file_name(policy), Some("acl.hujson"));
}

#[test]
fn a_database_of_postgres_is_named_by_its_parts() {
    let text = "
database:
  type: postgres
  postgres: {host: db.example.com, port: 5433, name: headscale, user: hs, pass: 1 2/3, ssl: true}
policy: {mode: database}
oidc: {issuer: https://login.example.com}
";
    let config = load(text).expect("it is right");
    assert_eq!(
        config.database_url,
        "postgres://hs:1%202%2F3@db.example.com:5433/headscale?sslmode=require"
    );
    assert_eq!(config.policy, PolicySource::Database);
    assert_eq!(config.issuer.as_deref(), Some("https://login.example.com"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("%202"), "a password is not shown: {shown}");
}

#[test]
fn a_socket_of_postgres_is_a_directory() {
    let text =
        "database: {type: postgres, postgres: {host: /run/postgresql, name: headscale, user: hs}}";
    let config = load(text).expect("it is right");
    assert_eq!(
        config.database_url,
        "postgres://hs@localhost/headscale?sslmode=disable&host=%2Frun%2Fpostgresql"
    );
    assert_eq!(config.policy, PolicySource::Absent);
}

#[test]
fn keys_without_a_value_count_as_not_given() {
    let text = "database: {type: sqlite, sqlite: {path: db}}\ndns:\n  nameservers:\n  extra_records:\nnoise:\n";
    let config = load(text).expect("it is right");
    assert!(config.dns.nameservers.global.is_empty() && config.noise_key.is_none());
}

#[test]
fn what_is_wrong_is_said() {
    for (text, said) in [
        ("database: {type: mysql}", "not sqlite or postgres"),
        ("database: {type: postgres}", "names no database"),
        ("database: [", "config.yaml"),
        ("dns: {magic_dns: perhaps}", "invalid type"),
    ] {
        let problem = load(text).expect_err(said);
        assert!(problem.contains(said), "{problem}");
    }
}
