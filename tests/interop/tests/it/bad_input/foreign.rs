//! What belongs to somebody else, asked for by a proven machine.

use bowline_clock::random_bytes;
use bowline_interop::{inside, is_possible};
use bowline_keys::PrivateKey;
use serde_json::{Value, json};

use super::{
    session::Session,
    witness::{Scene, node_key},
};

/// How many logins of one machine, and of one source, may wait (what identity allows).
const OF_A_MACHINE: usize = 5;
const OF_A_SOURCE: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn node_key_of_another_machine_is_refused_on_every_path() {
    let name = "bad_input::foreign::node_key_of_another_machine_is_refused_on_every_path";
    if !is_possible() || inside(name, 0).is_none() {
        return;
    }
    let mut scene = Scene::start("").await;
    let thief = PrivateKey::from_random(random_bytes());
    let mut session = Session::open(&thief, scene.control).await;
    let (stolen, auth_key) = (
        scene.witness.node_key.clone(),
        scene.witness.auth_key.clone(),
    );
    for (what, members) in [
        ("a good key", json!({ "Auth": { "AuthKey": auth_key } })),
        ("a bad key", json!({ "Auth": { "AuthKey": "nonsense" } })),
        ("a login", json!({})),
        (
            "a followup",
            json!({ "Followup": format!("{}/register/x", scene.server.url) }),
        ),
        ("a logout", json!({ "Expiry": "1970-01-01T00:02:03Z" })),
        (
            "an earlier end",
            json!({ "Expiry": "2100-01-01T00:00:00Z" }),
        ),
        (
            "itself as old",
            json!({ "OldNodeKey": stolen, "Auth": { "AuthKey": auth_key } }),
        ),
    ] {
        let mut request = json!({ "Version": 130, "NodeKey": stolen });
        for (name, value) in members.as_object().unwrap() {
            request[name] = value.clone();
        }
        let (status, text) = session.post("/machine/register", request.to_string()).await;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let error = answer["Error"].as_str().unwrap_or_default();
        assert!(
            status == 200 && !error.is_empty(),
            "{what}: {status} {text}"
        );
        assert!(!text.contains("owner@home"), "{what}: {text}");
    }
    for (stream, omit_peers, read_only) in (0..8).map(|n| (n & 1 > 0, n & 2 > 0, n & 4 > 0)) {
        let request = json!({
            "Version": 130, "NodeKey": stolen, "Stream": stream, "OmitPeers": omit_peers,
            "ReadOnly": read_only, "Endpoints": ["192.0.2.66:1"],
        });
        let (status, text) = session.post("/machine/map", request.to_string()).await;
        assert_eq!(status, 404, "{request}: {text}");
        // The same words as for a key that nobody has.
        let mut unknown = request.clone();
        unknown["NodeKey"] = json!(node_key());
        let answer = session.post("/machine/map", unknown.to_string()).await;
        assert_eq!(answer, (status, text));
    }
    scene.is_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_wait_are_bounded_for_each_machine_and_source() {
    let name = "bad_input::foreign::logins_that_wait_are_bounded_for_each_machine_and_source";
    if !is_possible() || inside(name, 0).is_none() {
        return;
    }
    let mut scene = Scene::start("").await;
    let mut waiting = 0;
    let mut urls = Vec::new();
    'machines: loop {
        let machine = PrivateKey::from_random(random_bytes());
        let mut session = Session::open(&machine, scene.control).await;
        for of_machine in 0..=OF_A_MACHINE {
            let request = json!({ "Version": 130, "NodeKey": node_key() });
            let answer = session.begin("/machine/register", request.to_string());
            let answer = answer.await.unwrap();
            let status = answer.status();
            if status == 429 {
                assert!(answer.headers().contains_key("retry-after"));
            }
            let (_, text) = super::session::text(answer).await;
            if waiting == OF_A_SOURCE {
                assert_eq!(status, 429, "of one source: {text}");
                assert!(text.contains("try again"), "{text}");
                break 'machines;
            }
            if of_machine == OF_A_MACHINE {
                assert_eq!(status, 429, "of one machine: {text}");
                continue 'machines;
            }
            assert_eq!(status, 200, "{text}");
            let answer: Value = serde_json::from_str(&text).unwrap();
            urls.push(answer["AuthURL"].as_str().unwrap().to_owned());
            waiting += 1;
        }
    }
    let listed = scene
        .server
        .bowline(&["logins", "list"])
        .unwrap()
        .to_string();
    let first = urls[0].rsplit('/').next().unwrap();
    assert!(
        listed.contains(first),
        "those that wait already are not pushed out"
    );
    scene.witness.hears(&scene.server).await;
    // A device with a key needs no login, and so is not kept out.
    let machine = PrivateKey::from_random(random_bytes());
    let mut session = Session::open(&machine, scene.control).await;
    let request = json!({
        "Version": 130, "NodeKey": node_key(), "Auth": { "AuthKey": scene.witness.auth_key },
    });
    let (status, text) = session.post("/machine/register", request.to_string()).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert!(status == 200 && answer["Error"] == "", "{text}");
}
