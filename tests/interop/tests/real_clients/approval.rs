//! Machines that wait: who lets them in beside an administrator.

use std::fs;

use bowline_interop::{Client, Release, Server, TestNetwork, inside, wait_for};
use bowline_test_webhook_receiver::{Answer, TestReceiver};
use serde_json::Value;

use super::SOON;

/// Has a client ask to be let in, for as long as it takes to be told that it waits.
fn ask_to_join(client: &Client, server: &Server, key: &str, name: &str) -> String {
    let (url, auth, hostname) = (
        format!("--login-server={}", server.url),
        format!("--authkey={key}"),
        format!("--hostname={name}"),
    );
    let join = ["up", &url, &auth, &hostname, "--timeout=5s"];
    client.run(&join).unwrap_err().to_string()
}

/// Waits until the audit trail has an entry about a node that says this.
fn wait_for_entry(server: &Server, action: &str, words: &str) {
    wait_for(&format!("{action} with {words:?}"), SOON, || {
        let list = ["audit", "list", "--action", action];
        let trail = server.bowline(&list).map_err(|error| error.to_string())?;
        let trail = trail.to_string();
        if trail.contains(words) {
            Ok(())
        } else {
            Err(trail)
        }
    });
}

fn require_approval(server: &Server) {
    let require = ["tailnets", "update", "--machine-approval", "true"];
    server.bowline(&require).unwrap();
}

#[test]
fn outside_system_lets_machines_in_and_keeps_them_out_and_its_silence_lets_them_wait() {
    let name = "approval::outside_system_lets_machines_in_and_keeps_them_out_and_its_silence_lets_them_wait";
    let Some(hosts) = inside(name, 3) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let receiver = runtime.block_on(TestReceiver::start());
    let files = tempfile::tempdir().unwrap();
    let authority = files.path().join("receiver.pem");
    fs::write(&authority, receiver.authority()).unwrap();
    let settings = "[identity]\nwebhook_networks = [\"127.0.0.0/8\"]\n";
    let server = Server::start_trusting(8081, settings, authority).unwrap();
    require_approval(&server);
    let url = receiver.url();
    let create = ["webhooks", "create", &url, "--event", "userCreated"];
    let made = server.bowline(&create).unwrap();
    let webhook = &made["webhook"]["id"];
    let policy = format!(r#"{{"approval_webhook": {{"webhook": {webhook}, "deadline": "2s"}}}}"#);
    server.set_key_policy(&policy).unwrap();
    let clients: Vec<_> = hosts
        .into_iter()
        .map(|host| Client::start(host, Release::Current, &[]).unwrap())
        .collect();
    let key = server.key().unwrap();

    // Without an answer in time the machine waits, until an administrator lets it in.
    receiver.answer(Answer::Silence);
    ask_to_join(&clients[0], &server, &key, "c1");
    clients[0].wait_for_state("NeedsMachineAuth", SOON);
    wait_for_entry(&server, "node.wait", "no answer within 2 seconds");
    server.bowline(&["nodes", "approve", "c1"]).unwrap();
    clients[0].wait_for_state("Running", SOON);

    // With a good one it is let in, and the command that waits comes to its end.
    receiver.answer(Answer::Json(r#"{"decision": "approve"}"#));
    clients[1].join(&server.url, &key, "c2").unwrap();
    clients[1].wait_for_state("Running", SOON);
    clients[0].wait_for_peers(&["c2"], SOON);

    // With another one it is turned away, and told so.
    let denial = r#"{"decision": "deny", "reason": "not in the inventory"}"#;
    receiver.answer(Answer::Json(denial));
    ask_to_join(&clients[2], &server, &key, "c3");
    wait_for_entry(&server, "node.deny", "not in the inventory");
    clients[2].wait_for_state("NeedsLogin", SOON);
    let told = ask_to_join(&clients[2], &server, &key, "c3");
    assert!(told.contains("denied this device"), "{told}");
    assert_eq!(clients[0].peers(), ["c2"]);

    let questions = runtime.block_on(receiver.wait_for(3));
    let secret = made["secret"].as_str().unwrap();
    let asked: Vec<_> = questions
        .iter()
        .map(|question| {
            assert!(question.is_signed_by(secret, chrono::Utc::now()));
            let body: Value = serde_json::from_str(&question.body).unwrap();
            assert_eq!(body["type"], "nodeApproval");
            let data = &body["data"];
            assert_eq!(
                (&data["user"], &data["os"]),
                (&"owner@home".into(), &"linux".into())
            );
            data["deviceName"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(asked, ["c1", "c2", "c3"], "each once");
}

#[test]
fn rules_let_machines_in_by_tag_and_by_version_and_the_others_wait() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start(network.host().unwrap(), "").unwrap();
    require_approval(&server);
    let policy = r#"{"tagOwners": {"tag:server": []}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}"#;
    server.set_policy(policy).unwrap();
    // The older release is 1.62.
    let rules = r#"{"approval_rules": [
        {"name": "servers", "tags": ["tag:server"]},
        {"name": "new clients of the site", "min_client_version": "1.80", "source_networks": ["10.77.0.0/24"]}
    ]}"#;
    server.set_key_policy(rules).unwrap();
    let start = |release| Client::start(network.host().unwrap(), release, &[]).unwrap();
    let key = server.key().unwrap();
    let create = ["keys", "create", "--tag", "tag:server"];
    let tagged = server.bowline(&create).unwrap();

    let new = start(Release::Current);
    new.join(&server.url, &key, "new").unwrap();
    let old = start(Release::Nacl);
    ask_to_join(&old, &server, &key, "old");
    old.wait_for_state("NeedsMachineAuth", SOON);
    let old_server = start(Release::Nacl);
    let secret = tagged["secret"].as_str().unwrap();
    old_server.join(&server.url, secret, "server").unwrap();
    new.wait_for_peers(&["server"], SOON);
    old_server.wait_for_peers(&["new"], SOON);
    let mut approved = vec!["new", "old", "server"];
    approved.retain(|name| {
        let shown = server.bowline(&["nodes", "show", name]).unwrap();
        shown["approved"] == true
    });
    assert_eq!(approved, ["new", "server"]);
    let list = ["audit", "list", "--action", "node.approve"];
    let trail = server.bowline(&list).unwrap().to_string();
    for (name, rule) in [("new", "new clients of the site"), ("server", "servers")] {
        let words = format!(r#""name":"{name}","rule":"{rule}""#);
        assert!(trail.contains(&words), "{words}: {trail}");
    }

    // What no rule lets in, an administrator does.
    server.bowline(&["nodes", "approve", "old"]).unwrap();
    old.wait_for_state("Running", SOON);
    new.wait_for_peers(&["old", "server"], SOON);
}
