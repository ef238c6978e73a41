//! A node that is connected meanwhile, and what must be the same afterwards.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_control_wire::{Compression, decode_frame};
use bowline_interop::{Host, Server};
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::session::{Session, control_key};
use crate::http::{http, http_at};

const SOON: Duration = Duration::from_secs(10);

/// A server with one node on it.
pub struct TestServer {
    pub server: Server,
    pub control: MachinePublic,
    pub witness: Witness,
    before: Value,
}

/// The node: its long poll must not be disturbed.
pub struct Witness {
    pub node_key: String,
    _session: Session,
    /// The credential it joined with.
    pub auth_key: String,
    node: u64,
    frames: Incoming,
    received: BytesMut,
    heard: String,
}

impl TestServer {
    /// Starts a server with settings of its gateway, and lets the node join.
    pub async fn start(settings: &str) -> Self {
        let server = Server::start(Host::here(), settings).unwrap();
        let control = control_key();
        let witness = Witness::join(&server, control).await;
        let before = state(&server);
        Self {
            server,
            control,
            witness,
            before,
        }
    }

    /// Checks that nothing has changed, and that the node's session is told of what does.
    pub async fn assert_undisturbed(&mut self) {
        assert_eq!(state(&self.server), self.before, "something was changed");
        self.witness.hears(&self.server).await;
        self.before = state(&self.server);
        let (_, metrics) = http_at("127.0.0.1:9090", "GET", "/metrics", b"");
        let metrics = String::from_utf8_lossy(&metrics).into_owned();
        assert!(metrics.contains("bowline_"), "{metrics}");
        let panics = metrics
            .lines()
            .find(|line| line.starts_with("bowline_gateway_panics_total "));
        assert_eq!(panics, None);
    }
}

impl Witness {
    async fn join(server: &Server, control: MachinePublic) -> Self {
        let machine = PrivateKey::from_random(random_bytes());
        let mut session = Session::open(&machine, control).await;
        let node_key = node_key();
        let auth_key = server.key().unwrap();
        let request = json!({
            "Version": 130, "NodeKey": node_key, "Auth": { "AuthKey": auth_key },
            "Hostinfo": { "Hostname": "witness", "OS": "linux" },
        });
        let (status, answer) = session.post("/machine/register", request.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        let poll = json!({ "Version": 130, "NodeKey": node_key, "Stream": true });
        let answer = session
            .begin("/machine/map", poll.to_string())
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let mut witness = Self {
            node_key,
            _session: session,
            auth_key,
            node: 0,
            frames: answer.into_body(),
            received: BytesMut::new(),
            heard: String::new(),
        };
        witness.node = witness.next().await["Node"]["ID"].as_u64().unwrap();
        witness
    }

    /// Returns what it was told since the last call.
    pub fn heard(&mut self) -> String {
        std::mem::take(&mut self.heard)
    }

    /// Returns the next message.
    async fn next(&mut self) -> Value {
        loop {
            let frame = decode_frame(&mut self.received, Compression::None, 1 << 20).unwrap();
            if let Some(json) = frame {
                self.heard.push_str(std::str::from_utf8(&json).unwrap());
                return serde_json::from_slice(&json).unwrap();
            }
            let frame = tokio::time::timeout(SOON, self.frames.frame()).await;
            let frame = frame.expect("a message in time").expect("a live stream");
            self.received
                .extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// Changes the node, and waits until its stream tells of it.
    pub async fn hears(&mut self, server: &Server) {
        let name = format!("w{}", u32::from_be_bytes(random_bytes()));
        let node = self.node.to_string();
        server.bowline(&["nodes", "rename", &node, &name]).unwrap();
        while !self.next().await["Node"]["Name"]
            .as_str()
            .is_some_and(|told| told.starts_with(&name))
        {}
    }
}

/// Returns a node key that is not used yet.
pub fn node_key() -> String {
    let public = PrivateKey::from_random(random_bytes()).public_bytes();
    bowline_keys::NodePublic::from_bytes(public).to_string()
}

/// Returns what bad input must not change: nodes and logins, without what time changes.
fn state(server: &Server) -> Value {
    let mut nodes = server.bowline(&["nodes", "list"]).unwrap();
    for node in nodes.as_array_mut().unwrap() {
        let node = node.as_object_mut().unwrap();
        node.retain(|name, _| !["last_seen", "online"].contains(&name.as_str()));
    }
    json!([nodes, server.bowline(&["logins", "list"]).unwrap()])
}

/// Returns the memory of the server, in bytes.
pub fn memory() -> u64 {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let children: String = tasks
        .map(|task| read(task.unwrap().path().join("children").display().to_string()))
        .collect();
    let resident = |child: &str| {
        let status = read(format!("/proc/{child}/status"));
        let is_server = status.starts_with("Name:\tbowline\n");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        is_server.then_some(kib * 1024)
    };
    children
        .split_whitespace()
        .find_map(resident)
        .expect("the server is a child of the test")
}

/// Sends a plain request that a healthy server answers.
pub fn is_served() -> bool {
    http("GET", "/health", b"").0 == 200
}
