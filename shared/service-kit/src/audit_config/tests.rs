use super::*;

fn config(key: Option<&str>, command: &str) -> AuditConfig {
    AuditConfig {
        signing_key: key.map(|key| Secret::new(key.to_owned())),
        signing_key_command: Some(command.to_owned()),
        directory: Some(PathBuf::from("heads")),
        ..AuditConfig::default()
    }
}

#[tokio::test]
async fn signing_key_comes_from_a_command() {
    let mut config = config(None, "echo a key");
    config.read_signing_key().await.unwrap();
    assert_eq!(config.signing_key.unwrap().expose(), "a key\n");
}

#[tokio::test]
async fn command_is_not_run_where_nothing_is_exported() {
    let mut config = config(None, "exit 1");
    config.directory = None;
    config.read_signing_key().await.unwrap();
    assert!(config.signing_key.is_none());
}

#[tokio::test]
async fn command_that_fails_or_is_one_of_two_sources_is_named() {
    for (key, said) in [
        (None, "audit.signing_key_command: it failed"),
        (Some("a key"), "are both set"),
    ] {
        let mut config = config(key, "echo no access >&2; exit 1");
        let refused = config.read_signing_key().await.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}
