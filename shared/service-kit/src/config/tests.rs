use std::collections::BTreeMap;
use std::io::Write;

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    identity: Identity,
    drain_seconds: Option<u64>,
    database: Option<Secret>,
    #[expect(dead_code, reason = "another program's table")]
    relay: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    database: String,
    #[serde(default)]
    replicas: u32,
    #[serde(default)]
    peers: Vec<String>,
    #[serde(default)]
    providers: BTreeMap<String, Provider>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    client_secret: Secret,
}

fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    load(Some(file.path()), environment)
}

fn refusal(text: &str, environment: &[(&str, &str)]) -> String {
    load_text(text, environment).unwrap_err().to_string()
}

const PLAIN: &str = "[identity]\ndatabase = \"a\"\n";

#[test]
fn the_environment_overrides_the_file() {
    let environment = [
        ("BOWLINE_IDENTITY__DATABASE", "b"),
        ("BOWLINE_IDENTITY__REPLICAS", "3"),
        ("BOWLINE_IDENTITY__PEERS", r#"["x:1", "y:2"]"#),
        ("BOWLINE_IDENTITY__PROVIDERS__OKTA__CLIENT_SECRET", "hush"),
        ("BOWLINE_DRAIN_SECONDS", "7"),
        ("BOWLINE_STATE_DIR", "the command line's"),
        ("PATH", "/bin"),
    ];
    let config = load_text(PLAIN, &environment).unwrap();
    assert_eq!(config.identity.database, "b");
    assert_eq!(config.identity.replicas, 3);
    assert_eq!(config.drain_seconds, Some(7));
    assert_eq!(config.identity.peers, ["x:1", "y:2"]);
    assert_eq!(
        config.identity.providers["okta"].client_secret.expose(),
        "hush"
    );
}

#[test]
fn the_environment_alone_is_enough() {
    let environment = [(
        "BOWLINE_IDENTITY__DATABASE".to_owned(),
        "sqlite:///x".to_owned(),
    )];
    let config: Config = load(None, environment).unwrap();
    assert_eq!(config.identity.database, "sqlite:///x");
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_name() {
    let refusal = refusal("[identity]\ndatabase = \"a\"\nreplica = 2\n", &[]);
    assert!(
        refusal.ends_with("line 3, column 1: unknown key \"replica\"; did you mean \"replicas\"?"),
        "{refusal}"
    );
}

#[test]
fn a_secret_at_the_top_is_read_from_the_file_a_variable_names() {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(b"postgres://x\n").unwrap();
    let variable = [("BOWLINE_DATABASE_FILE", secret.path().to_str().unwrap())];
    let config = load_text(PLAIN, &variable).unwrap();
    assert_eq!(config.database.unwrap().expose(), "postgres://x");
}

#[test]
fn an_unknown_variable_is_refused_by_name() {
    assert_eq!(
        refusal(PLAIN, &[("BOWLINE_DRAIN_SECOND", "1")]),
        "environment variable BOWLINE_DRAIN_SECOND: unknown key \"drain_second\"; did you mean \"drain_seconds\"?"
    );
    let refusal = refusal(PLAIN, &[("BOWLINE_IDENTITY__DATABSE", "b")]);
    assert_eq!(
        refusal,
        "environment variable BOWLINE_IDENTITY__DATABSE: unknown key \"databse\"; did you mean \"database\"?"
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    let text = "[identity]\ndatabase = 5\n";
    assert!(
        refusal(text, &[]).contains("line 2, column 12: invalid type"),
        "{}",
        refusal(text, &[])
    );
    let variable = [("BOWLINE_IDENTITY__REPLICAS", "many")];
    assert!(
        refusal(PLAIN, &variable).contains("variable BOWLINE_IDENTITY__REPLICAS: invalid type")
    );
    assert!(refusal("[identity\n", &[]).contains("line 1"));
    let through = [("BOWLINE_IDENTITY__DATABASE__X", "1")];
    assert!(refusal(PLAIN, &through).contains("expects a table"));
}

#[test]
fn an_empty_variable_takes_the_key_of_the_file_away() {
    let text = format!("drain_seconds = 5\ndatabase_file = \"/nowhere\"\n{PLAIN}");
    let empty = [("BOWLINE_DRAIN_SECONDS", ""), ("BOWLINE_DATABASE", "")];
    let config = load_text(&text, &empty).unwrap();
    assert_eq!(config.drain_seconds, None);
    assert!(config.database.is_none());
}

#[test]
fn a_variable_wins_over_both_forms_of_a_key_in_the_file() {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(b"of the variable\n").unwrap();
    let by_file = ("BOWLINE_DATABASE_FILE", secret.path().to_str().unwrap());
    let direct = ("BOWLINE_DATABASE", "of the variable");
    for (text, variable) in [
        ("database = \"of the file\"\n", by_file),
        ("database_file = \"/nowhere\"\n", direct),
    ] {
        let config = load_text(&format!("{text}{PLAIN}"), &[variable]).unwrap();
        assert_eq!(config.database.unwrap().expose(), "of the variable");
    }
    assert!(refusal(PLAIN, &[by_file, direct]).contains("is given twice"));
}

#[test]
fn a_secret_is_read_from_its_file_and_never_shown() {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(b"hush\n").unwrap();
    let path = secret.path().to_str().unwrap();
    let text = format!("{PLAIN}[identity.providers.okta]\nclient_secret_file = \"{path}\"\n");
    let config = load_text(&text, &[]).unwrap();
    assert_eq!(
        config.identity.providers["okta"].client_secret.expose(),
        "hush"
    );
    assert!(!format!("{config:?}").contains("hush"));
    let variable = [(
        "BOWLINE_IDENTITY__PROVIDERS__OKTA__CLIENT_SECRET_FILE",
        path,
    )];
    let config = load_text(PLAIN, &variable).unwrap();
    assert_eq!(
        config.identity.providers["okta"].client_secret.expose(),
        "hush"
    );
}

#[test]
fn a_secret_given_twice_is_refused() {
    let text = format!(
        "{PLAIN}[identity.providers.okta]\nclient_secret_file = \"/x\"\nclient_secret = \"y\"\n"
    );
    assert!(refusal(&text, &[]).contains("given twice"));
}

#[test]
fn a_missing_secret_file_is_named() {
    let text = format!("{PLAIN}[identity.providers.okta]\nclient_secret_file = \"/nowhere\"\n");
    assert!(refusal(&text, &[]).contains("the file of \"client_secret_file\" can not be read"));
}

#[test]
fn check_names_everything_that_is_wrong_and_keeps_the_rest() {
    let text = "drain_second = 1\ndrain_seconds = \"soon\"\n\
                [identity]\ndatabase = \"a\"\nreplicas = -1\npear = 1\n\
                [identity.providers.okta]\nclient_secret_file = \"/nowhere\"\nclient_secret = \"x\"\n";
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let variable = ("BOWLINE_IDENTITY__PEERS".to_owned(), "7".to_owned());
    let found: Findings<Config> = check(Some(file.path()), [variable]);
    let problems: Vec<_> = found.problems.iter().map(ToString::to_string).collect();
    for part in [
        "line 1, column 1: unknown key \"drain_second\"",
        "line 2, column 17: invalid type",
        "line 5, column 12: invalid value",
        "line 6, column 1: unknown key \"pear\"",
        "\"client_secret\" is given twice",
        "environment variable BOWLINE_IDENTITY__PEERS: invalid type",
    ] {
        let count = problems.iter().filter(|it| it.contains(part)).count();
        assert_eq!(count, 1, "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 6, "{problems:#?}");
    let config = found.config.unwrap();
    assert_eq!(
        (
            &*config.identity.database,
            config.identity.replicas,
            config.drain_seconds
        ),
        ("a", 0, None)
    );
}

#[test]
fn check_of_a_text_that_is_none_and_of_a_missing_key_ends() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"[identity\n").unwrap();
    let found: Findings<Config> = check(Some(file.path()), []);
    assert_eq!((found.problems.len(), found.config.is_none()), (1, true));
    let found: Findings<Config> = check(None, []);
    let problem = found.problems[0].to_string();
    assert!(problem.contains("missing field `identity`"), "{problem}");
}
