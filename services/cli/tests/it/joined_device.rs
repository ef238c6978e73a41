//! Devices that join a server.

use std::net::SocketAddr;

use bowline_test_deployments::Deployment;
use bowline_upgrade::{Device, Registered};
use serde_json::json;

/// A device that has joined, and the key it joined with.
pub struct JoinedDevice {
    pub device: Device,
    pub node: u64,
    pub key: String,
}

/// Makes a tailnet with a user, where there is none.
pub fn prepare_tailnet(server: &impl Deployment) {
    let listed = server.bowline(&["tailnets", "list"]).unwrap();
    if listed.as_array().is_none_or(Vec::is_empty) {
        server.bowline(&["tailnets", "create", "home"]).unwrap();
        server
            .bowline(&["users", "create", "owner@home", "--role", "owner"])
            .unwrap();
    }
}

/// Joins a device at a gateway.
pub fn join(server: &impl Deployment, at: SocketAddr, name: &str) -> JoinedDevice {
    let key = server.bowline(&["keys", "create", "--user", "owner@home"]);
    let key = key.unwrap()["secret"].as_str().unwrap().to_owned();
    let device = Device::new();
    let auth = json!({ "Auth": { "AuthKey": key } });
    let registered = device.register(at, &json!({ "Hostname": name }), &auth);
    assert_eq!(registered.unwrap(), Registered::Node(true));
    let nodes = server.bowline(&["nodes", "list"]).unwrap();
    let nodes = nodes.as_array().unwrap().iter();
    let node = nodes
        .filter(|node| node["name"] == name)
        .find_map(|node| node["id"].as_u64());
    JoinedDevice {
        device,
        node: node.unwrap(),
        key,
    }
}
