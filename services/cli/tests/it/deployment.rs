//! What separate processes are given, and how they are.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tokio::net::TcpListener;

use crate::bowline::{SOON, TestInstallation};

/// Returns the files below a directory that accounts other than its own may read, by their path from there.
fn readable_files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(place) = waiting.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let metadata = fs::metadata(&path).unwrap();
            if metadata.is_dir() {
                waiting.push(path);
            } else if metadata.permissions().mode() & 0o077 != 0 {
                let inner = path.strip_prefix(directory).unwrap();
                found.push(inner.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn deployment_gives_each_process_what_is_its_own_and_keeps_it() {
    let installation = TestInstallation::new();
    let directory = installation.path("deployment");
    let place = directory.to_str().unwrap();
    let create = ["deployment", "create", place, "--host", "vpn.example.com"];
    installation.json(&create).await;
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let kept = [
        "authority/services/ca.pem",
        "netmap-gateway/control-keys/noise.key",
        "netmap-gateway/tls/certificate.pem",
        "identity/sealing-key",
        "policy-compiler/audit-key",
        "identity/database-url",
        "postgres/password",
        "redis/redis.conf",
    ];
    let before = kept.map(read);
    for owner in ["identity", "key-registry"] {
        let key = read(&format!("{owner}/audit-key"));
        assert!(
            key == read("policy-compiler/audit-key"),
            "one key for all owners"
        );
    }
    let issued = read("relay/certificates/relay.pem");
    // What another account reads: certificates, and the passwords of the two servers that have directories of their own.
    let is_meant = |file: &String| {
        file.ends_with(".pem") && !file.ends_with("key.pem")
            || ["postgres/password", "redis/password", "redis/redis.conf"].contains(&&**file)
    };
    let readable = readable_files(&directory);
    assert!(readable.iter().all(is_meant), "{readable:?}");
    // No process has the key of an authority, or the secret of another.
    for process in [
        "identity",
        "key-registry",
        "policy-compiler",
        "netmap-gateway",
        "relay",
    ] {
        let certificates = directory.join(process).join("certificates");
        let files = fs::read_dir(&certificates).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        names.sort();
        let expected = [
            "ca.pem",
            &format!("{process}.key"),
            &format!("{process}.pem"),
        ];
        assert_eq!(names, expected);
    }
    let password = read("postgres/password");
    let url = format!("postgres://bowline:{}@db.internal/bowline", password.trim());
    assert_eq!(read("key-registry/database-url").trim(), url);

    installation.json(&create).await;
    assert_eq!(kept.map(read), before, "what is there stays");
    assert_ne!(
        read("relay/certificates/relay.pem"),
        issued,
        "certificates are renewed"
    );
    // Another name gets another certificate, of the same authority.
    let other = ["deployment", "create", place, "--host", "198.51.100.7"];
    installation.json(&other).await;
    assert_ne!(read("netmap-gateway/tls/certificate.pem"), before[2]);
    assert_eq!(read("authority/services/ca.pem"), before[0]);
}

#[tokio::test]
async fn health_is_asked_without_another_program() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let installation = TestInstallation::new();
    installation.set("127.0.0.1:0", &address, "");
    let ask = ["health", "--at", &address];
    let said = installation.bowline(&ask).await;
    said.failed(1, "no answer from");
    let served = installation.serve().await;
    let ready = async {
        while installation.bowline(&ask).await.code != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, ready).await.unwrap();
    assert_eq!(installation.json(&ask).await["health"], "ready");
    let live = installation
        .json(&["health", "--live", "--at", &address])
        .await;
    assert_eq!(live["health"], "ok");
    let (_, port) = address.split_once(':').unwrap();
    let by_name = format!("localhost:{port}");
    let named = installation.json(&["health", "--at", &by_name]).await;
    assert_eq!(named["health"], "ready");
    drop(served);
}

#[tokio::test]
async fn first_key_is_made_once() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    // The start of one process has made it already.
    let said = installation.bowline(&["first-key"]).await;
    said.failed(4, "somebody was here before");
}
