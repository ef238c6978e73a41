//! A client that speaks crypto_box over plain HTTP (protocol section 3.2): as little as it takes to register and to
//! ask for the netmap.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bowline_clock::random_bytes;
use bowline_control_nacl::{open_box, seal_box};
use bowline_control_wire::{Compression, MapResponse, RegisterResponse, decode_frame};
use bowline_keys::{MachinePublic, NodePublic, PrivateKey};
use bytes::BytesMut;
use serde_json::{Value, json};

/// The capability version of the requests: that of a client of 2024 that speaks crypto_box.
const VERSION: u16 = 88;
/// An id of a request as a client might like it to be: the header goes with all that a device asks.
pub const FORGED_REQUEST_ID: &str = "0123456789abcdef0123456789abcdef";
/// The longest netmap.
const LONGEST: usize = 16 << 20;

/// A device with its keys.
#[derive(Debug)]
pub struct Device {
    /// The key of the installation.
    pub machine: PrivateKey,
    /// The key of the node.
    pub node: PrivateKey,
}

/// What a registration was answered with.
#[derive(Debug, PartialEq, Eq)]
pub enum Registered {
    /// The node is bound; false: it waits for approval.
    Node(bool),
    /// A person has to decide at this address.
    Login(String),
    /// The key has ended.
    Expired,
}

impl Device {
    /// Returns a device with new keys.
    #[must_use]
    pub fn new() -> Self {
        Self {
            machine: PrivateKey::from_random(random_bytes()),
            node: PrivateKey::from_random(random_bytes()),
        }
    }

    /// Returns the node key as requests name it.
    #[must_use]
    pub fn node_key(&self) -> String {
        NodePublic::from_bytes(self.node.public_bytes()).to_string()
    }

    /// Registers; `more` are further fields of the request.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn register(
        &self,
        server: SocketAddr,
        hostinfo: &Value,
        more: &Value,
    ) -> Result<Registered> {
        let request =
            json!({ "Version": VERSION, "NodeKey": self.node_key(), "Hostinfo": hostinfo });
        let answer = self.post(server, "", &joined(request, more))?;
        let answer: RegisterResponse = serde_json::from_slice(&answer)?;
        if !answer.error.is_empty() {
            bail!("refused: {}", answer.error);
        }
        Ok(if !answer.auth_url.is_empty() {
            Registered::Login(answer.auth_url)
        } else if answer.node_key_expired {
            Registered::Expired
        } else {
            Registered::Node(answer.machine_authorized)
        })
    }

    /// Reports the host's state, as a client does after it has joined.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn report(&self, server: SocketAddr, hostinfo: &Value) -> Result<()> {
        let disco = PrivateKey::from_random(random_bytes()).public_bytes();
        let disco: String = disco.iter().map(|byte| format!("{byte:02x}")).collect();
        let request = json!({
            "Version": VERSION, "NodeKey": self.node_key(), "DiscoKey": format!("discokey:{disco}"),
            "OmitPeers": true, "Hostinfo": hostinfo, "Endpoints": ["192.0.2.7:41641"],
        });
        self.post_raw(server, "/map", &request).map(drop)
    }

    /// Asks for the netmap, once.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn map(&self, server: SocketAddr) -> Result<MapResponse> {
        let request = json!({ "Version": VERSION, "NodeKey": self.node_key(), "ReadOnly": true });
        let (control, answer) = self.post_raw(server, "/map", &request)?;
        let payload = self.opened(control, answer.get(4..).context("no frame")?)?;
        let framed = bowline_control_wire::encode_frame(&[&payload])?;
        let mut framed = BytesMut::from(&framed[..]);
        let message =
            decode_frame(&mut framed, Compression::None, LONGEST)?.context("half a frame")?;
        Ok(serde_json::from_slice(&message)?)
    }

    /// Asks for the netmap and all that follows: the node is online as long as the connection is held.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn stay(&self, server: SocketAddr, hostinfo: &Value) -> Result<TcpStream> {
        let request = json!({
            "Version": VERSION, "NodeKey": self.node_key(), "Stream": true, "KeepAlive": true, "Hostinfo": hostinfo,
        });
        let control = control_key(server)?;
        let body = seal_box(
            request.to_string().as_bytes(),
            &self.machine,
            control,
            random_bytes(),
        );
        let mut stream = send(server, "POST", &self.path("/map"), &body)?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        if !first.ends_with(b"200") {
            bail!("{}", String::from_utf8_lossy(&first));
        }
        Ok(stream)
    }

    fn post(&self, server: SocketAddr, path: &str, request: &Value) -> Result<Vec<u8>> {
        let (control, answer) = self.post_raw(server, path, request)?;
        self.opened(control, &answer)
    }

    fn post_raw(
        &self,
        server: SocketAddr,
        path: &str,
        request: &Value,
    ) -> Result<(MachinePublic, Vec<u8>)> {
        let control = control_key(server)?;
        let body = seal_box(
            request.to_string().as_bytes(),
            &self.machine,
            control,
            random_bytes(),
        );
        let answer = http(server, "POST", &self.path(path), &body)?;
        Ok((control, answer))
    }

    fn opened(&self, control: MachinePublic, sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(open_box(sealed, control, [&self.machine])?.plaintext)
    }

    fn path(&self, rest: &str) -> String {
        let machine = MachinePublic::from_bytes(self.machine.public_bytes());
        format!("/machine/{}{rest}", machine.to_hex())
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns an object with the fields of another.
fn joined(mut request: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    request
}

/// Asks for the key that requests are sealed for.
fn control_key(server: SocketAddr) -> Result<MachinePublic> {
    let text = String::from_utf8(http(server, "GET", "/key", b"")?)?;
    Ok(MachinePublic::from_hex(text.trim())?)
}

/// Sends a request and returns the body of the answer, which has to be a good one.
fn http(server: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut stream = send(server, method, path, body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = answer.split_off(end.context("no head")? + 4);
    if answer.get(9..12) != Some(b"200") {
        let head = String::from_utf8_lossy(&answer);
        let status = head.lines().next().unwrap_or_default();
        bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

/// Sends a request; as HTTP/1.0 the answer comes without chunks.
fn send(server: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nTraceparent: 00-{FORGED_REQUEST_ID}-0123456789abcdef-01\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    Ok(stream)
}
