//! A receiver is told what happens to a server that people administer with the command.

use std::fs;

use bowline_clock::{Clock as _, SystemClock};
use bowline_test_webhook_receiver::{Answer, TestReceiver};
use serde_json::Value;
use tokio::time::timeout;

use crate::bowline::{SOON, TestInstallation};

#[tokio::test]
async fn receiver_is_told_of_changes_signed_and_after_it_was_away_and_a_crash() {
    let receiver = TestReceiver::start().await;
    let installation = TestInstallation::new();
    let authority = installation.path("receiver.pem");
    fs::write(&authority, receiver.authority()).unwrap();
    let settings = installation.path("bowline.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let text = text + "[identity]\nwebhook_networks = [\"127.0.0.0/8\"]\n";
    fs::write(&settings, text).unwrap();
    let served = installation.serve_trusting(&authority).await;

    let made = installation
        .json(&[
            "webhooks",
            "create",
            &receiver.url(),
            "--event",
            "userCreated",
        ])
        .await;
    let secret = made["secret"].as_str().unwrap();
    let number = made["webhook"]["id"].to_string();
    let test = installation.json(&["webhooks", "test", &number]).await;
    let told = receiver.wait_for(1).await;
    assert_eq!(told[0].id, test["event_id"].as_str().unwrap());
    assert!(told[0].is_signed_by(secret, SystemClock.now()));

    // The policy is not subscribed to.
    let policy = installation.path("policy.hujson");
    fs::write(&policy, "{\"acls\": []}").unwrap();
    installation
        .json(&["policy", "set", policy.to_str().unwrap()])
        .await;
    receiver.answer(Answer::Status(503));
    installation
        .json(&["users", "create", "amira@example.com"])
        .await;
    let told = receiver.wait_for(2).await;
    assert_eq!(told[1].kind(), "userCreated");
    assert_eq!(told[1].event()["data"]["user"], "amira@example.com");
    let shown = show_failed(&installation, &number).await;
    assert_eq!(shown["waiting"], 1);
    assert!(
        shown["problem"].as_str().unwrap().contains("503"),
        "{shown}"
    );
    served.kill().await;

    receiver.answer(Answer::Taken);
    let _served = installation.serve_trusting(&authority).await;
    let rotated = installation.json(&["webhooks", "rotate", &number]).await;
    let told = receiver.wait_for(3).await;
    assert_eq!(told[2].id, told[1].id, "the same event, once more");
    // For whoever has not heard of the new secret yet, too.
    installation.json(&["webhooks", "test", &number]).await;
    let told = receiver.wait_for(4).await;
    for secret in [secret, rotated["secret"].as_str().unwrap()] {
        assert!(told[3].is_signed_by(secret, SystemClock.now()));
    }
}

/// Returns a webhook as it is shown, once it is known that an event could not be delivered.
async fn show_failed(installation: &TestInstallation, number: &str) -> Value {
    let failed = async {
        loop {
            let shown = installation.json(&["webhooks", "show", number]).await;
            if shown["failures"] != 0 {
                return shown;
            }
        }
    };
    timeout(SOON, failed).await.unwrap()
}
