//! Rolling the control keys, in phases that every gateway is ready for.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use bowline_test_deployments::{Deployment, Launch, OneProcess, Separate};
use bowline_test_servers::PostgresServer;
use serde_json::Value;

use crate::bowline::{SOON, TestInstallation};

/// Returns the keys of a list as `TRANSPORT STATE`, and their public halves.
fn shown(list: &Value) -> (Vec<String>, Vec<String>) {
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    let keys = list.as_array().unwrap().iter();
    keys.map(|key| {
        let state = format!("{} {}", text(key, "transport"), text(key, "state"));
        (state, text(key, "public"))
    })
    .unzip()
}

#[tokio::test]
async fn control_keys_are_made_prepared_activated_and_retired() {
    let installation = TestInstallation::new();
    let keys = installation.path("keys");
    let keys = keys.to_str().unwrap();
    let run = async |what: &str| {
        let arguments = ["control-keys", what, keys];
        installation.bowline(&arguments).await
    };
    let unchecked = async |what: &str| {
        let arguments = ["control-keys", what, keys, "--without-checking"];
        installation.json(&arguments).await
    };
    let show = async || shown(&installation.json(&["control-keys", "show", keys]).await);
    run("prepare").await.failed(3, "control-keys create");
    installation.json(&["control-keys", "create", keys]).await;
    let (states, first) = show().await;
    assert_eq!(states, ["noise active", "legacy active"]);
    assert!(first[0].starts_with("mkey:"));
    run("activate").await.failed(4, "control-keys prepare");
    run("retire").await.failed(3, "no old control keys");
    run("drop-prepared")
        .await
        .failed(3, "no prepared control keys");

    installation.json(&["control-keys", "prepare", keys]).await;
    let prepared = [
        "noise active",
        "noise prepared",
        "legacy active",
        "legacy prepared",
    ];
    assert_eq!(show().await.0, prepared);
    let drop_prepared = ["control-keys", "drop-prepared", keys];
    installation.json(&drop_prepared).await;
    assert_eq!(show().await, (states.clone(), first.clone()));

    installation.json(&["control-keys", "prepare", keys]).await;
    let (_, with_next) = show().await;
    // Nothing runs that could be asked.
    run("activate").await.failed(5, "--without-checking");
    unchecked("activate").await;
    let (active, rolled) = show().await;
    let expected = ["noise active", "noise old", "legacy active", "legacy old"];
    assert_eq!(active, expected);
    assert_eq!(rolled[0], with_next[1], "the prepared one is active");
    assert_eq!(rolled[1], first[0]);
    run("prepare").await.failed(4, "control-keys retire");
    unchecked("retire").await;
    let (retired, left) = show().await;
    assert_eq!(retired, states);
    assert_eq!([&left[0], &left[1]], [&rolled[0], &rolled[2]]);
    unchecked("roll").await;
    assert_eq!(show().await.0, expected);

    let exported = run("export").await;
    let lines: Vec<_> = exported.out.lines().collect();
    for (line, state) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("{state} privkey:")), "{state}");
    }
    assert_eq!(lines.len(), expected.len());
}

/// Runs `bowline control-keys` against a server.
fn control_keys(server: &impl Deployment, arguments: &[&str]) -> Output {
    let mut command = server.command().unwrap();
    command.arg("control-keys").args(arguments);
    command.output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Waits until a gateway, named by its address, has as many keys in a state as transports.
fn wait_for_state(server: &impl Deployment, address: &str, state: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let status = server.bowline(&["status"]).unwrap();
        let gateways = status["gateways"].as_array().unwrap();
        let is_it = |gateway: &&Value| gateway["address"] == address;
        let count = gateways.iter().find(is_it).map(|gateway| {
            let keys = shown(&gateway["control_keys"]).0.into_iter();
            keys.filter(|key| key.ends_with(state)).count()
        });
        if count == Some(2) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{address} {state}: {gateways:#?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn copy(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn gateway_that_lags_is_named_and_waited_for() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let database = postgres.new_database().unwrap();
    let (keys, behind) = (
        place.path().join("control-keys"),
        place.path().join("control-keys-2"),
    );
    bowline_control_keys::ControlKeys::create(&keys).unwrap();
    copy(&keys, &behind);
    let launch = Launch {
        gateways: 2,
        ..Launch::default()
    };
    let server = Separate::start_with(place.path(), &database, &launch).unwrap();
    let Some(server) = server else {
        return;
    };
    let directory = keys.to_str().unwrap();
    let addresses = server.addresses();
    let (first, second) = (addresses[0].to_string(), addresses[1].to_string());
    wait_for_state(&server, &second, "active");
    for (prepare, command, state, lack) in [
        (true, "activate", "prepared", "does not have the prepared"),
        (false, "retire", "old", "does not offer the active"),
    ] {
        if prepare {
            let output = control_keys(&server, &["prepare", directory]);
            assert!(output.status.success(), "{}", error(&output));
        }
        // The first reads it again by itself.
        wait_for_state(&server, &first, state);
        let before = bowline_control_keys::ControlKeys::load(&keys).unwrap();
        let refused = control_keys(&server, &[command, directory]);
        let said = error(&refused);
        assert_eq!(refused.status.code(), Some(4), "{said}");
        assert!(said.contains(&format!("{second} {lack}")), "{said}");
        assert!(!said.contains(&first), "{said}");
        let after = bowline_control_keys::ControlKeys::load(&keys).unwrap();
        assert_eq!(after.describe(), before.describe());
        let table = server.command().unwrap().arg("status").output().unwrap();
        let table = String::from_utf8(table.stdout).unwrap();
        for part in ["CONTROL KEY", "PREPARED AT"] {
            assert!(table.contains(part), "{part}: {table}");
        }

        let mut waiting = server.command().unwrap();
        waiting.args(["control-keys", command, directory, "--wait", "60s"]);
        let mut waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
        let mut progress = BufReader::new(waiting.stderr.take().unwrap()).lines();
        let line = progress.next().unwrap().unwrap();
        assert!(
            line.starts_with("waiting: ") && line.contains(&second),
            "{line}"
        );
        copy(&keys, &behind);
        assert!(waiting.wait().unwrap().success(), "{:?}", progress.next());
    }
    let left = bowline_control_keys::ControlKeys::load(&keys).unwrap();
    assert_eq!(left.describe().len(), 2);
    server.end().unwrap();
}

#[test]
fn one_process_is_rolled_while_it_serves() {
    let place = tempfile::tempdir().unwrap();
    let server = OneProcess::start(place.path(), "http").unwrap();
    let key = || {
        let keys = place.path().join("control-keys");
        bowline_control_keys::ControlKeys::load(&keys)
            .unwrap()
            .noise
            .public()
    };
    let before = key();
    let output = control_keys(&server, &["roll"]);
    assert!(output.status.success(), "{}", error(&output));
    assert_ne!(key(), before);
    let address = server.addresses()[0];
    let offered = || {
        let url = format!("http://{address}/key?v=100");
        let output = Command::new("curl")
            .args(["--silent", &url])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let deadline = Instant::now() + SOON;
    while !offered().contains(&key().to_string()) {
        assert!(Instant::now() < deadline, "{}", offered());
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = control_keys(&server, &["retire", "--wait", "60s"]);
    assert!(output.status.success(), "{}", error(&output));
    let output = control_keys(&server, &["retire"]);
    assert_eq!(output.status.code(), Some(3), "{}", error(&output));
    server.end().unwrap();
}
