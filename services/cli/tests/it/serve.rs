//! `bowline serve` that can not.

use std::{net::TcpListener, os::unix::fs::PermissionsExt as _, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::bowline::{SOON, TestInstallation, command, run};

const FIRST_KEY: &str = "The key works for 24 hours";

#[tokio::test]
async fn taken_port_is_named_and_the_next_start_is_still_the_first() {
    let installation = TestInstallation::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    installation.set("127.0.0.1:0", &taken, "");
    installation.bowline(&["serve"]).await.failed(1, &taken);
    installation.set(&taken, "127.0.0.1:0", "");
    installation.bowline(&["serve"]).await.failed(1, &taken);

    installation.set("127.0.0.1:0", "127.0.0.1:0", "");
    let served = installation.serve().await;
    assert!(served.greeting.contains(FIRST_KEY), "{}", served.greeting);
    served.kill().await;
    let served = installation.serve().await;
    assert!(!served.greeting.contains(FIRST_KEY), "{}", served.greeting);
}

#[tokio::test]
async fn first_key_goes_into_a_private_file_where_nobody_looks() {
    let installation = TestInstallation::new();
    // Whatever lies there is replaced, its mode as well.
    std::fs::write(installation.path("first-key"), "").unwrap();
    let served = installation.serve().await;
    let greeting = &served.greeting;
    assert!(!greeting.contains("bowline-auth-"), "{greeting}");
    let file = installation.path("first-key");
    assert!(
        greeting.contains(&format!("cat {}", file.display())),
        "{greeting}"
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(key.starts_with("bowline-auth-") && key.ends_with('\n'));
    let listed = installation.json(&["keys", "list"]).await;
    let id = listed[0]["id"].as_str().unwrap();
    assert!(key.starts_with(&format!("bowline-auth-{id}-")));

    let link = std::fs::read_to_string(installation.path("first-link")).unwrap();
    let listed = installation.json(&["invitations", "list"]).await;
    let id = listed[0]["id"].as_str().unwrap();
    let path = format!("/invitation/bowline-invitation-{id}-");
    assert!(link.contains(&path), "{link}");
}

#[tokio::test]
async fn first_key_is_shown_to_a_person_at_a_terminal() {
    let installation = TestInstallation::new();
    // `script` gives it a terminal.
    let bowline = env!("CARGO_BIN_EXE_bowline");
    let (own, file) = (
        installation.directory().display(),
        installation.path("number"),
    );
    let number = file.display();
    let line = format!("echo $$ > {number}; exec {bowline} --state-dir {own} serve");
    let mut command = Command::new("script");
    command
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        // With its input at an end, it may end before the server has said anything.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let shown = async {
        let mut said = String::new();
        loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                panic!("it ends without showing the key: {said}");
            };
            if line.contains("--auth-key=") {
                return line;
            }
            said += &format!("{line}\n");
        }
    };
    let shown = tokio::time::timeout(SOON, shown).await.unwrap();
    let number = std::fs::read_to_string(file).unwrap();
    let ended = Command::new("kill").args(["-KILL", number.trim()]).status();
    assert!(ended.await.unwrap().success());
    assert!(shown.contains("--auth-key=bowline-auth-"), "{shown}");
    assert!(!installation.path("first-key").exists());
}

#[tokio::test]
async fn clean_stop_is_told_of_without_an_error() {
    let installation = TestInstallation::new();
    let settings = std::fs::read_to_string(installation.path("bowline.toml")).unwrap();
    let settings = settings.replace("log_filter = \"off\"", "log_format = \"plain\"");
    std::fs::write(installation.path("bowline.toml"), settings).unwrap();
    let served = installation.serve().await;
    let file = installation.path("policy.hujson");
    std::fs::write(&file, "{\"acls\": []}").unwrap();
    installation
        .json(&["policy", "set", file.to_str().unwrap()])
        .await;
    let log = served.end().await;
    assert!(log.contains("draining"), "{log}");
    assert!(!log.contains("ERROR") && !log.contains('{'), "{log}");
}

#[tokio::test]
async fn settings_that_leave_clients_without_a_relay_are_warned_of() {
    let installation = TestInstallation::new();
    let settings = std::fs::read_to_string(installation.path("bowline.toml")).unwrap();
    let settings = settings.replace("log_filter = \"off\"", "log_filter = \"warn\"");
    std::fs::write(installation.path("bowline.toml"), &settings).unwrap();
    let warning = "clients have no relay";
    let file = installation.path("bowline.toml");
    let check = ["config", "check", file.to_str().unwrap()];
    let said = installation.bowline(&check).await;
    assert!(said.code == 0 && said.out.contains(warning), "{}", said.out);
    let found = installation.json(&check).await;
    assert!(found["warnings"][0].as_str().unwrap().contains(warning));

    let served = installation.serve().await;
    assert!(served.greeting.contains(warning), "{}", served.greeting);
    let said = installation.bowline(&["--output", "json", "status"]).await;
    assert!(
        said.code == 0 && said.error.contains(warning),
        "{}",
        said.error
    );
    assert!(serde_json::from_str::<serde_json::Value>(&said.out).is_ok());
    let log = served.end().await;
    assert!(log.contains("WARN") && log.contains(warning), "{log}");

    let relay = "[relay]\nlisten = \"127.0.0.1:0\"\nstun_listen = \"127.0.0.1:0\"\n";
    let settings = settings.replace("[relay]\nenabled = false\n", relay);
    std::fs::write(&file, settings).unwrap();
    assert_eq!(
        installation.bowline(&check).await.out,
        "the settings are valid\n"
    );
    let served = installation.serve().await;
    assert!(!served.greeting.contains(warning), "{}", served.greeting);
    assert_eq!(installation.bowline(&["status"]).await.error, "");
}

#[tokio::test]
async fn state_directory_that_can_not_be_one_is_named() {
    let installation = TestInstallation::new();
    let file = installation.path("file");
    std::fs::write(&file, "").unwrap();
    for directory in [file.clone(), file.join("below")] {
        let settings = installation.path("bowline.toml");
        let said = run(command(&directory)
            .args(["serve", "--config"])
            .arg(settings))
        .await;
        said.failed(1, &directory.display().to_string());
    }
}

#[tokio::test]
async fn second_server_of_a_state_directory_is_refused_and_the_first_serves_on() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let said = installation.bowline(&["serve"]).await;
    said.failed(1, "another `bowline serve` uses the state directory");
    let tailnets = installation.json(&["tailnets", "list"]).await;
    assert_eq!(tailnets[0]["name"], "home");
}

#[tokio::test]
async fn certificate_without_a_key_is_refused() {
    let installation = TestInstallation::new();
    installation.set("127.0.0.1:0", "127.0.0.1:0", "certificate_file = \"x.pem\"");
    let said = installation.bowline(&["serve"]).await;
    said.failed(1, "certificate_file is set and key_file is not");
    installation.set("127.0.0.1:0", "127.0.0.1:0", "key_file = \"x.key\"");
    let said = installation
        .bowline(&["serve", "--public-url", "https://127.0.0.1"])
        .await;
    said.failed(1, "key_file is set and certificate_file is not");
    assert!(!installation.path("tls").exists() && !installation.path("identity.db").exists());
}

#[tokio::test]
async fn map_of_relays_that_is_none_is_refused_with_its_file() {
    let installation = TestInstallation::new();
    let file = installation.path("derp.json");
    std::fs::write(&file, "{}").unwrap();
    let setting = format!("derp_map_file = \"{}\"", file.display());
    installation.set("127.0.0.1:0", "127.0.0.1:0", &setting);
    installation
        .bowline(&["serve"])
        .await
        .failed(1, "it names no relay");
    installation.set("127.0.0.1:0", "127.0.0.1:0", "derp_map_url = \"ftp://x\"");
    let said = installation.bowline(&["serve"]).await;
    said.failed(1, "\"ftp://x\" is no https URL");
}

/// Suspends somebody, and returns the gateways that are waited for by then, once there are some.
async fn waited_for(installation: &TestInstallation) -> Vec<String> {
    let named = async {
        loop {
            let said = installation.bowline(&[
                "--output",
                "json",
                "users",
                "suspend",
                "amira@example.com",
            ]);
            let said = said.await;
            let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
            let gateways = answer["gateways"].as_array().cloned().unwrap_or_default();
            let names: Vec<_> = gateways
                .iter()
                .map(|one| one["gateway"].to_string())
                .collect();
            if !names.is_empty() {
                return names;
            }
        }
    };
    tokio::time::timeout(SOON, named).await.unwrap()
}

#[tokio::test]
async fn gateway_that_ended_in_order_is_waited_for_by_nobody() {
    let installation = TestInstallation::new();
    let served = installation.serve().await;
    installation
        .json(&["users", "create", "amira@example.com"])
        .await;
    let before = waited_for(&installation).await;
    served.end().await;
    let _again = command(installation.directory())
        .arg("serve")
        .spawn()
        .unwrap();
    let after = waited_for(&installation).await;
    assert!(!after.contains(&before[0]), "{before:?} {after:?}");
}
