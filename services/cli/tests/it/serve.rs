//! `bowline serve` that can not.

use std::net::TcpListener;

use crate::bowline::{Place, SOON, command, run};

const FIRST_KEY: &str = "The key works for 24 hours";

#[tokio::test]
async fn taken_port_is_named_and_the_next_start_is_still_the_first() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    place.set("127.0.0.1:0", &taken, "");
    place.bowline(&["serve"]).await.failed(1, &taken);
    place.set(&taken, "127.0.0.1:0", "");
    place.bowline(&["serve"]).await.failed(1, &taken);

    place.set("127.0.0.1:0", "127.0.0.1:0", "");
    let served = place.serve().await;
    assert!(served.greeting.contains(FIRST_KEY), "{}", served.greeting);
    assert!(served.greeting.contains("--auth-key=bowline-auth-"));
    served.kill().await;
    let served = place.serve().await;
    assert!(!served.greeting.contains(FIRST_KEY), "{}", served.greeting);
}

#[tokio::test]
async fn state_directory_that_can_not_be_one_is_named() {
    let place = Place::new();
    let file = place.path("file");
    std::fs::write(&file, "").unwrap();
    for directory in [file.clone(), file.join("below")] {
        let settings = place.path("bowline.toml");
        let said = run(command(&directory)
            .args(["serve", "--config"])
            .arg(settings))
        .await;
        said.failed(1, &directory.display().to_string());
    }
}

#[tokio::test]
async fn second_server_of_a_state_directory_is_refused_and_the_first_serves_on() {
    let place = Place::new();
    let _served = place.serve().await;
    let said = place.bowline(&["serve"]).await;
    said.failed(1, "another `bowline serve` uses the state directory");
    let status = place.json(&["status"]).await;
    assert_eq!(status[0]["tailnet"], "home");
}

#[tokio::test]
async fn certificate_without_a_key_is_refused() {
    let place = Place::new();
    place.set("127.0.0.1:0", "127.0.0.1:0", "certificate_file = \"x.pem\"");
    let said = place.bowline(&["serve"]).await;
    said.failed(1, "certificate_file is set and key_file is not");
    place.set("127.0.0.1:0", "127.0.0.1:0", "key_file = \"x.key\"");
    let said = place
        .bowline(&["serve", "--public-url", "https://127.0.0.1"])
        .await;
    said.failed(1, "key_file is set and certificate_file is not");
    assert!(!place.path("tls").exists() && !place.path("identity.db").exists());
}

#[tokio::test]
async fn map_of_relays_that_is_none_is_refused_with_its_file() {
    let place = Place::new();
    let file = place.path("derp.json");
    std::fs::write(&file, "{}").unwrap();
    let setting = format!("derp_map_file = \"{}\"", file.display());
    place.set("127.0.0.1:0", "127.0.0.1:0", &setting);
    place
        .bowline(&["serve"])
        .await
        .failed(1, "it names no relay");
    place.set("127.0.0.1:0", "127.0.0.1:0", "derp_map_url = \"ftp://x\"");
    let said = place.bowline(&["serve"]).await;
    said.failed(1, "\"ftp://x\" is no https URL");
}

/// Suspends somebody, and returns the gateways that are waited for by then, once there are some.
async fn waited_for(place: &Place) -> Vec<String> {
    let named = async {
        loop {
            let said =
                place.bowline(&["--output", "json", "users", "suspend", "amira@example.com"]);
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
    let place = Place::new();
    let served = place.serve().await;
    place.json(&["users", "create", "amira@example.com"]).await;
    let before = waited_for(&place).await;
    served.end().await;
    let _again = command(place.directory()).arg("serve").spawn().unwrap();
    let after = waited_for(&place).await;
    assert!(!after.contains(&before[0]), "{before:?} {after:?}");
}
