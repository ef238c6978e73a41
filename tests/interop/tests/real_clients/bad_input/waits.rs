//! Strangers who wait for somebody to let them in, on as many requests as they like.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_interop::inside;
use bowline_keys::{MachinePublic, PrivateKey};
use serde_json::{Value, json};

use super::{
    session::{Session, text},
    witness::{TestServer, is_served, memory, node_key},
};

/// Returns a registration as long as they may be, and of many more values than bytes suggest.
fn registration(node_key: &str, followup: &str) -> String {
    json!({
        "Version": 130, "NodeKey": node_key, "Followup": followup,
        "Hostinfo": { "Hostname": "crowd", "OS": "linux", "RoutableIPs": vec![""; 20_000] },
    })
    .to_string()
}

/// Begins a login and returns its address.
async fn begin(machine: &PrivateKey, control: MachinePublic, node_key: &str) -> String {
    let mut session = Session::open(machine, control).await;
    let request =
        json!({ "Version": 130, "NodeKey": node_key, "Hostinfo": { "Hostname": "crowd" } });
    let (status, answer) = session.post("/machine/register", request.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["AuthURL"].as_str().unwrap().to_owned()
}

/// Asks for a login on a connection of its own, so many times at once; returns the statuses of those answered soon.
async fn ask(
    machine: PrivateKey,
    control: MachinePublic,
    (node_key, followup): (String, String),
    times: usize,
) -> Vec<u16> {
    let session = Session::open(&machine, control).await;
    let asking = (0..times).map(|_| {
        let mut session = session.clone();
        let body = registration(&node_key, &followup);
        async move {
            let answer = session.begin("/machine/register", body);
            let answer = tokio::time::timeout(Duration::from_secs(40), answer).await;
            text(answer.ok()?.ok()?).await.0.into()
        }
    });
    let answered: Vec<Option<u16>> = futures_util::future::join_all(asking).await;
    answered.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_of_strangers_are_few_and_hold_little() {
    let name = "bad_input::waits::waits_of_strangers_are_few_and_hold_little";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let control = test_server.control;
    // One login, waited for 80 times by its own machine.
    let (machine, node) = (PrivateKey::from_random(random_bytes()), node_key());
    let login = begin(&machine, control, &node).await;
    let before = memory();
    let crowd: Vec<_> = (0..10)
        .map(|_| {
            let machine = PrivateKey::from_random(*machine.expose_bytes());
            tokio::spawn(ask(machine, control, (node.clone(), login.clone()), 8))
        })
        .collect();
    let mut refused = 0;
    for crowd in crowd {
        let answered = crowd.await.unwrap();
        assert!(
            answered
                .iter()
                .all(|status| [408, 429, 503].contains(status)),
            "{answered:?}"
        );
        refused += answered.len();
    }
    assert!(refused >= 78, "two wait, not {}", 80 - refused);
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
    assert!(is_served());
    test_server.witness.hears(&test_server.server).await;
}
