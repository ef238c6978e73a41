//! Requests that a real client, release 1.102.5, has sent: read whole, and the same after writing and reading again.

use bowline_control_wire::{MapRequest, RegisterRequest, parse_request};
use serde::{Serialize, de::DeserializeOwned};

/// Reads a recording, and what it is written as.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(recorded: &str) -> T {
    let request: T = parse_request(recorded.as_bytes()).expect("a recorded request");
    let written = serde_json::to_vec(&request).expect("what is read can be written");
    let again: T = parse_request(&written).expect("what is written can be read");
    assert_eq!(request, again);
    request
}

#[test]
fn registration_of_a_real_client_is_read_whole() {
    let request: RegisterRequest = read(include_str!("recorded/register-1.102.5.json"));
    assert!(!request.node_key.is_zero() && request.old_node_key.is_zero());
    assert!(
        request
            .auth
            .is_some_and(|auth| auth.auth_key.starts_with("bowline-auth-"))
    );
    assert!(
        request.expiry.is_some_and(|none| none.timestamp() < 0),
        "the year 1 means none"
    );
    let hostinfo = request.hostinfo.expect("a host");
    assert_eq!(
        (hostinfo.hostname.as_str(), hostinfo.os.as_str()),
        ("rec", "linux")
    );
    assert_eq!(hostinfo.services[0].proto, "peerapi-dns-proxy");
}

#[test]
fn poll_of_a_real_client_is_no_report() {
    let request: MapRequest = read(include_str!("recorded/map-stream-1.102.5.json"));
    assert_eq!(request.version.0, 142);
    assert!(request.stream && request.keep_alive && request.wants_zstd());
    assert!(!request.is_report(), "a stream of this age reports nothing");
}

#[test]
fn report_of_a_real_client_is_read_whole() {
    let request: MapRequest = read(include_str!("recorded/map-lite-1.102.5.json"));
    assert!(request.is_report() && !request.disco_key.is_zero());
    assert_eq!(request.endpoints, ["10.79.0.2:60117"]);
    assert_eq!(request.endpoint_types.len(), 1);
    let net_info = request
        .hostinfo
        .and_then(|hostinfo| hostinfo.net_info)
        .expect("measured");
    assert_eq!(net_info.preferred_derp, 900);
    assert!(net_info.derp_latency.contains_key("900-v4"));
}
