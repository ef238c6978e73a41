//! `bowline backup`, `bowline restore` and `bowline migrate-deployment`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use bowline_test_servers::PostgresServer;
use serde_json::Value;

use crate::bowline::TestInstallation;

/// A directory beside the installation's, with its settings.
fn empty_installation() -> TestInstallation {
    let installation = TestInstallation::new();
    fs::remove_file(installation.path("bowline.toml")).unwrap();
    installation
}

fn as_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The logins of the users, and the ids.
async fn users(installation: &TestInstallation) -> Vec<(Value, Value)> {
    let listed = installation.json(&["users", "list"]).await;
    let users = listed.as_array().unwrap().iter();
    users
        .map(|user| (user["id"].clone(), user["login_name"].clone()))
        .collect()
}

#[tokio::test]
async fn backup_of_a_running_server_makes_the_same_server_elsewhere() {
    let installation = TestInstallation::new();
    let served = installation.serve().await;
    let made = ["users", "create", "amira@example.com"];
    assert_eq!(installation.bowline(&made).await.code, 0);
    let policy = installation.path("policy.hujson");
    fs::write(&policy, "{\"acls\": []}").unwrap();
    let set = ["policy", "set", as_text(&policy)];
    assert_eq!(installation.bowline(&set).await.code, 0);
    let before = users(&installation).await;
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("backup");
    let said = installation.bowline(&["backup", as_text(&file)]).await;
    assert_eq!(said.code, 0, "{}", said.error);
    assert!(said.error.contains("identity: users, "), "{}", said.error);
    assert!(
        said.out.contains("with all keys of the server"),
        "{}",
        said.out
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has secrets");
    installation
        .bowline(&["backup", as_text(&file)])
        .await
        .failed(4, "is there already");

    // What is changed afterwards is lost by the restore, and named by it.
    let late = ["users", "create", "late@example.com"];
    assert_eq!(installation.bowline(&late).await.code, 0);
    let gone = ["users", "delete", "amira@example.com"];
    assert_eq!(installation.bowline(&gone).await.code, 0);

    let elsewhere = empty_installation();
    elsewhere.json(&["restore", as_text(&file)]).await;
    for name in ["control-keys", "sealing-key", "bowline.toml"] {
        assert!(elsewhere.path(name).exists(), "{name}");
    }
    let restored = elsewhere.serve().await;
    assert_eq!(users(&elsewhere).await, before);
    let trail = elsewhere.json(&["audit", "list"]).await;
    let begun = trail.as_array().unwrap().iter();
    let begun = begun
        .filter(|entry| entry["action"] == "epoch.begin")
        .count();
    assert_eq!(begun, 3, "each service says that it went back: {trail}");
    assert_eq!(elsewhere.bowline(&["audit", "verify"]).await.code, 0);
    // A new user gets no number that was given after the backup.
    let answer = elsewhere
        .json(&["users", "create", "new@example.com"])
        .await;
    let highest = before.iter().map(|(id, _)| id.as_u64().unwrap()).max();
    assert!(
        answer["id"].as_u64().unwrap() > highest.unwrap() + 1000,
        "{answer}"
    );
    drop(restored);

    // In place: not while the server runs, and what is there is moved aside.
    let replace = ["restore", "--replace", as_text(&file)];
    installation
        .bowline(&replace)
        .await
        .failed(1, "another `bowline serve` uses the state directory");
    served.end().await;
    installation
        .bowline(&["restore", as_text(&file)])
        .await
        .failed(4, "is not empty");
    let said = installation.bowline(&replace).await;
    assert_eq!(said.code, 0, "{}", said.error);
    assert!(said.out.contains("user.delete"), "{}", said.out);
    let aside = fs::read_dir(installation.directory()).unwrap();
    let aside = aside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(aside.into_iter().any(|name| name.starts_with("replaced-")));
    let _served = installation.serve().await;
    assert_eq!(users(&installation).await, before);
}

#[tokio::test]
async fn databases_are_brought_up_to_date_before_the_services_start() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    let url = postgres.new_database().unwrap();
    let installation = empty_installation();
    let migrate = ["migrate", "--database", &url];
    let first = installation.json(&migrate).await;
    let schemas = first.as_array().unwrap().iter();
    let schemas: Vec<_> = schemas.map(|row| row["schema"].as_str().unwrap()).collect();
    assert_eq!(schemas, ["key_registry", "policy_compiler", "identity"]);
    assert_eq!(installation.json(&migrate).await, first);
    // From then on an account that may only use them is enough.
    let database = url.rsplit_once('/').unwrap().1;
    let mut grants = "CREATE ROLE served LOGIN;".to_owned();
    for schema in schemas {
        grants += &format!(
            "GRANT USAGE ON SCHEMA {schema} TO served;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO served;
             GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO served;"
        );
    }
    postgres.ask(&url, &grants).unwrap();
    let served = url.replace("postgres@", "served@");
    assert!(served.ends_with(database));
    // It can also begin an epoch, which a promotion of a standby makes it do.
    let restored = "UPDATE identity.epochs SET lineage = 'restored'";
    postgres.ask(&url, restored).unwrap();
    let migrate = ["migrate", "--database", &served];
    assert_eq!(installation.json(&migrate).await, first);
    let epochs = "SELECT COUNT(*) FROM identity.epochs WHERE base > 0";
    assert_eq!(postgres.ask(&url, epochs).unwrap(), "1");
    let backup = installation.path("backup");
    let backup = ["backup", as_text(&backup), "--database", &served];
    installation.json(&backup).await;
    let mistyped = ["migrate", "--database", "key-registy=postgres://x/y"];
    installation
        .bowline(&mistyped)
        .await
        .failed(1, "\"key-registy\" has no database");
    installation
        .bowline(&["migrate"])
        .await
        .failed(1, "name the database");
    installation
        .bowline(&["migrate", "--database", "postgres://127.0.0.1:1/none"])
        .await
        .failed(5, "key-registry: ");
}

#[tokio::test]
async fn damaged_backup_changes_nothing() {
    let installation = TestInstallation::new();
    let served = installation.serve().await;
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("backup");
    assert_eq!(
        installation.bowline(&["backup", as_text(&file)]).await.code,
        0
    );
    served.end().await;
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    let elsewhere = empty_installation();
    for target in [&installation, &elsewhere] {
        target
            .bowline(&["restore", "--replace", as_text(&file)])
            .await
            .failed(1, "can not be read or written");
    }
    assert!(!elsewhere.path("identity.db").exists());
    installation
        .bowline(&["restore", "--replace", "/nowhere"])
        .await
        .failed(3, "/nowhere can not be read");
    let _served = installation.serve().await;
}

#[tokio::test]
async fn server_of_one_process_moves_to_postgres_whole() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    let url = postgres.new_database().unwrap();
    let installation = TestInstallation::new();
    let served = installation.serve().await;
    let made = ["users", "create", "amira@example.com"];
    assert_eq!(installation.bowline(&made).await.code, 0);
    let outside = tempfile::tempdir().unwrap();
    let files = outside.path().join("files");
    let migrate = [
        "migrate-deployment",
        "--database",
        &url,
        "--files",
        as_text(&files),
    ];
    installation
        .bowline(&migrate)
        .await
        .failed(1, "another `bowline serve` uses the state directory");
    served.end().await;
    let said = installation.bowline(&migrate).await;
    assert_eq!(said.code, 0, "{}", said.error);
    assert!(files.join("control-keys").is_dir() && files.join("sealing-key").is_file());
    // All rows are there, and nothing is moved onto them a second time.
    let (own, moved) = (outside.path().join("own"), outside.path().join("moved"));
    let own = installation.json(&["backup", as_text(&own)]).await;
    let database = ["--database", &url];
    let moved = installation
        .json(&[&["backup", as_text(&moved)][..], &database].concat())
        .await;
    let count = |answer: &Value, service: &str| answer["rows"][service].as_u64().unwrap();
    for service in ["identity", "key-registry", "policy-compiler"] {
        assert!(count(&own, service) > 5);
        assert_eq!(count(&own, service), count(&moved, service), "{service}");
    }
    let said = installation.bowline(&migrate).await;
    assert_eq!(said.code, 4);
    assert!(
        said.error.contains("key_registry is not empty"),
        "{}",
        said.error
    );
}
