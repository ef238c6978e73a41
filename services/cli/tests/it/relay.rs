//! `bowline relay` beside separate services.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::bowline::{SOON, TestInstallation, command};

/// Asks until an answer has this in it.
async fn told(address: &str, path: &str, part: &str) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        if answer.contains(part) {
            return;
        }
    }
}

#[tokio::test]
async fn relay_shows_health_and_metrics_and_writes_the_map_for_gateways() {
    let installation = TestInstallation::new();
    let certificates = installation.path("certificates");
    let directory = certificates.to_str().unwrap();
    installation
        .json(&["certificates", "create", directory])
        .await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let telemetry = free.local_addr().unwrap().to_string();
    drop(free);
    let map = installation.path("derp.json");
    let mut command = command(installation.directory());
    command
        .args(["relay", "--host", "127.0.0.1", "--listen", "127.0.0.1:0"])
        .args(["--stun-listen", "127.0.0.1:0", "--telemetry-listen"])
        .arg(&telemetry)
        .args(["--key-registry", "127.0.0.1:1", "--identity", "127.0.0.1:1"])
        .arg("--ca")
        .arg(certificates.join("ca.pem"))
        .arg("--cert")
        .arg(certificates.join("relay.pem"))
        .arg("--key")
        .arg(certificates.join("relay.key"))
        .arg("--map")
        .arg(&map);
    let _relay = command.spawn().unwrap();
    for (path, part) in [
        ("/healthz", "200 OK"),
        ("/readyz", "ready"),
        ("/metrics", "bowline_relay_connections 0"),
    ] {
        tokio::time::timeout(SOON, told(&telemetry, path, part))
            .await
            .expect(path);
    }
    let map: serde_json::Value = serde_json::from_slice(&std::fs::read(map).unwrap()).unwrap();
    assert_eq!(map["Regions"]["2695"]["Nodes"][0]["HostName"], "127.0.0.1");
}
