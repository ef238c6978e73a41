//! Requests of a proven machine: every member wrong in every way.

use bowline_clock::random_bytes;
use bowline_interop::inside;
use bowline_keys::PrivateKey;
use serde_json::{Value, json};

use super::{
    session::Session,
    witness::{TestServer, node_key},
};

/// What no member of a request is, or at least not sensibly.
fn wrong_values() -> Vec<Value> {
    let long = "a".repeat(200_000);
    vec![
        json!(true),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!("x"),
        json!("\u{0}\u{202e}\"\\"),
        json!(long),
        json!([[[]]]),
        json!([7, "x", {}]),
        json!({ "Unknown": { "x": [null] } }),
        json!("nodekey:00"),
        json!(format!("nodekey:{}", "zz".repeat(32))),
        json!(format!("mkey:{}", "00".repeat(32))),
        json!("0001-01-01T00:00:00Z"),
        json!("999999-01-01T00:00:00Z"),
    ]
}

/// Returns a request once for each member and wrong value, members of members too.
fn spoiled(request: &Value) -> Vec<(String, Value)> {
    let mut cases = Vec::new();
    for (name, value) in request.as_object().unwrap() {
        for (number, wrong) in wrong_values().into_iter().enumerate() {
            if name == "Auth" && wrong.is_object() {
                // No credential at all: that begins a login.
                continue;
            }
            let mut other = request.clone();
            other[name] = wrong;
            cases.push((format!("{name}, value {number}"), other));
        }
        if value.is_object() {
            for (inner, spoiled) in spoiled(value) {
                let mut other = request.clone();
                other[name] = spoiled;
                cases.push((format!("{name}.{inner}"), other));
            }
        }
    }
    cases
}

fn hostinfo() -> Value {
    json!({
        "IPNVersion": "1.102.5", "OS": "linux", "OSVersion": "6", "Distro": "debian", "DeviceModel": "x",
        "App": "x", "Hostname": "host", "ShieldsUp": false, "RoutableIPs": ["10.0.0.0/8"],
        "RequestTags": ["tag:x"], "Services": [{ "Proto": "tcp", "Port": 1, "Description": "x" }],
        "sshHostKeys": ["x"], "Location": { "Country": "x", "Latitude": 1.0, "Priority": 1 },
        "NetInfo": {
            "PreferredDERP": 900, "WorkingUDP": true, "WorkingIPv6": false,
            "MappingVariesByDestIP": null, "DERPLatency": { "900-v4": 0.1 },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_member_is_answered_and_changes_nothing() {
    let name = "bad_input::fields::every_wrong_member_is_answered_and_changes_nothing";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let machine = PrivateKey::from_random(random_bytes());
    let mut session = Session::open(&machine, test_server.control).await;
    // The credential is refused whatever else the request says.
    let register = json!({
        "Version": 130, "NodeKey": node_key(), "OldNodeKey": node_key(), "NLKey": "nlpub:00",
        "Auth": { "AuthKey": "nonsense" }, "Expiry": "0001-01-01T00:00:00Z", "Followup": "x",
        "Hostinfo": hostinfo(), "Ephemeral": true, "Tailnet": "required:x",
    });
    let poll = json!({
        "Version": 130, "Compress": "", "KeepAlive": true, "NodeKey": node_key(), "Stream": true,
        "DiscoKey": format!("discokey:{}", "5a".repeat(32)), "Hostinfo": hostinfo(),
        "Endpoints": ["192.0.2.1:1"], "EndpointTypes": [1], "ReadOnly": false, "OmitPeers": false,
    });
    let mut refused = 0;
    for (path, request) in [("/machine/register", register), ("/machine/map", poll)] {
        for (what, request) in spoiled(&request) {
            let (status, text) = session.post(path, request.to_string()).await;
            let is_clear = match (status, path) {
                (400, _) => {
                    refused += 1;
                    !text.is_empty() && text.len() < 1000
                }
                (404, "/machine/map") => text.contains("log in again"),
                (200, "/machine/register") => {
                    let answer: Value = serde_json::from_str(&text).unwrap();
                    let error = answer["Error"].as_str().unwrap();
                    (!error.is_empty() && error.len() < 1000) || answer["NodeKeyExpired"] == true
                }
                _ => false,
            };
            assert!(is_clear, "{path} {what}: {status} {text:.300}");
        }
    }
    assert!(refused > 400, "most are no request at all: {refused}");
    for body in [
        "",
        "null",
        "[]",
        "7",
        "{",
        "{}{}",
        "\u{feff}{}",
        "{\"Version\":1e999}",
    ] {
        for path in ["/machine/register", "/machine/map"] {
            let (status, text) = session.post(path, body).await;
            assert!(
                [400, 404].contains(&status),
                "{path} {body:?}: {status} {text}"
            );
        }
    }
    for (path, status) in [
        ("/machine/nothing", 404),
        ("/machine/../key", 404),
        ("/key", 404),
        ("/machine/tka/init/begin", 405),
        ("/machine/update-health", 204),
    ] {
        assert_eq!(session.post(path, "{}").await.0, status, "{path}");
    }
    test_server.assert_undisturbed().await;
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test(flavor = "multi_thread")]
async fn strange_reports_reach_peers_harmless() {
    let name = "bad_input::fields::strange_reports_reach_peers_harmless";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let machine = PrivateKey::from_random(random_bytes());
    let mut session = Session::open(&machine, test_server.control).await;
    let node_key = node_key();
    let register = json!({
        "Version": 130, "NodeKey": node_key, "Auth": { "AuthKey": test_server.witness.auth_key },
        "Hostinfo": { "Hostname": "strange" },
    });
    let (status, answer) = session
        .post("/machine/register", register.to_string())
        .await;
    assert_eq!(status, 200, "{answer}");
    let report = |hostinfo: Value, rest: Value| {
        let mut request = json!({
            "Version": 130, "NodeKey": node_key, "OmitPeers": true, "Hostinfo": hostinfo,
        });
        for (name, value) in rest.as_object().unwrap() {
            request[name] = value.clone();
        }
        request.to_string()
    };
    let none = || json!({});
    let services = vec![json!({ "Proto": "peerapi4", "Port": 1, "Description": "\"\\\n" }); 100];
    for (hostinfo, rest, wanted) in [
        (json!({ "Hostname": "" }), none(), 200),
        (json!({ "Hostname": "a".repeat(300) }), none(), 200),
        (json!({ "Hostname": "\u{202e}\u{0}..\"\\" }), none(), 200),
        (json!({ "Hostname": "../../etc" }), none(), 200),
        (json!({ "Hostname": "a".repeat(200_000) }), none(), 200),
        (json!({ "OS": "\u{0}\"\\\n".repeat(1000) }), none(), 200),
        (json!({ "IPNVersion": "\u{0}" }), none(), 200),
        (json!({ "Services": services }), none(), 200),
        (json!({ "sshHostKeys": ["\"\\\n"] }), none(), 200),
        (json!({ "Location": { "Country": "\"\\\n" } }), none(), 200),
        (
            json!({ "RoutableIPs": ["x", "10.0.0.1/8", "::/129"] }),
            none(),
            200,
        ),
        (
            json!({ "RoutableIPs": vec!["10.0.0.0/8"; 10_000] }),
            none(),
            200,
        ),
        (
            json!({ "RequestTags": ["x", "tag:", "tag:\u{0}"] }),
            none(),
            200,
        ),
        (
            json!({ "NetInfo": { "PreferredDERP": u32::MAX } }),
            none(),
            200,
        ),
        (
            json!({ "NetInfo": { "DERPLatency": { "x": 1e308 } } }),
            none(),
            200,
        ),
        (
            none(),
            json!({ "Endpoints": vec!["192.0.2.1:1"; 10_000] }),
            200,
        ),
        (
            none(),
            json!({ "Endpoints": ["x", "[fe80::1%eth0]:1", "1.1.1.1:99999", "\u{0}"] }),
            200,
        ),
        (none(), json!({ "EndpointTypes": vec![7; 100] }), 200),
        (
            none(),
            json!({ "DiscoKey": format!("discokey:{}", "00".repeat(32)) }),
            200,
        ),
        (none(), json!({ "Version": 0 }), 200),
        (none(), json!({ "Version": 65535 }), 200),
    ] {
        let request = report(hostinfo, rest);
        let (status, text) = session.post("/machine/map", request.clone()).await;
        assert_eq!(status, wanted, "{request:.200}: {text}");
    }
    // The peer is told of all that, in messages the strictest client reads.
    test_server.witness.hears(&test_server.server).await;
    let heard = test_server.witness.heard();
    assert!(
        heard.contains("strange") || heard.contains("PeersChanged"),
        "{heard:.500}"
    );
    assert!(!heard.contains('\\'), "a string with an escape: {heard}");
    assert!(heard.len() < 300_000, "{}", heard.len());
    let nodes = test_server.server.bowline(&["nodes", "list"]).unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 2);
}
