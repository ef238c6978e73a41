//! Any bytes as the body of a request.

use bowline_control_wire::{MapRequest, RegisterRequest, RequestError, parse_request};
use serde_json::Value;

/// Requests of real clients, shortened, and odd ones.
pub fn seeds() -> Vec<Vec<u8>> {
    let key = |prefix: &str| format!("{prefix}:{}", "5a".repeat(32));
    let (node, disco) = (key("nodekey"), key("discokey"));
    let hostinfo = r#"{"IPNVersion":"1.102.5","OS":"linux","Hostname":"host","RoutableIPs":["10.0.0.0/8"],
        "RequestTags":["tag:x"],"Services":[{"Proto":"peerapi4","Port":1,"Description":"x"}],"sshHostKeys":["x"],
        "NetInfo":{"PreferredDERP":900,"WorkingUDP":true,"DERPLatency":{"900-v4":0.1}},"Location":{"Latitude":1.5}}"#;
    [
        format!(
            r#"{{"Version":142,"NodeKey":"{node}","OldNodeKey":"{node}","NLKey":"nlpub:00","Auth":{{"AuthKey":"k"}},
            "Expiry":"2026-01-01T00:00:00Z","Followup":"https://x/register/1","Hostinfo":{hostinfo},"Ephemeral":true,
            "Tailnet":"required:x","NodeKeySignature":null}}"#
        ),
        format!(
            r#"{{"Version":130,"Compress":"zstd","KeepAlive":true,"NodeKey":"{node}","DiscoKey":"{disco}",
            "Stream":true,"HostInfo":{hostinfo},"Endpoints":["192.0.2.1:1",null],"EndpointTypes":[1,2],
            "OmitPeers":false,"ReadOnly":false,"DebugFlags":["x"]}}"#
        ),
        r#"{"version":null,"Version":1,"VERSION":2,"x":{"y":[[[{}]]]}}"#.to_owned(),
        "[]".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Whatever is read is bounded, and what is written of it is read again.
pub fn run(input: &[u8]) {
    both::<RegisterRequest>(input);
    if let Some(request) = both::<MapRequest>(input) {
        // Neither of these may panic, whatever the version.
        let _ = (request.wants_zstd(), request.is_report());
    }
}

fn both<T>(input: &[u8]) -> Option<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    match parse_request::<T>(input) {
        Ok(request) => {
            let written = serde_json::to_vec(&request).expect("what is read can be written");
            let again: T = parse_request(&written).expect("what is written can be read");
            let value = |request: &T| -> Value { serde_json::to_value(request).expect("a value") };
            // A second reading changes nothing more, but for the last digit of a fraction.
            let (first, second) = (value(&request), value(&again));
            assert_eq!(
                first.as_object().map(|map| map.len()),
                second.as_object().map(|map| map.len())
            );
            Some(request)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!matches!(error, RequestError::Values) || input.len() > 60_000);
            None
        }
    }
}
