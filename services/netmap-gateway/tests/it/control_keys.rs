//! Control keys that change while the gateway serves.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_control_keys::{ControlKeyState, ControlKeys};
use bowline_control_noise::{Initiator, NoiseStream};
use bowline_control_wire::KeyResponse;
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::{SOON, TestGateway, refusal};

/// The capability version of the client.
const VERSION: u16 = 106;

/// How long is waited before something is asked again: a gateway answers strangers only so often.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends a request, again while the gateway has no time for strangers, and returns the answer's head.
async fn ask(address: SocketAddr, request: &str) -> Option<(TcpStream, String)> {
    loop {
        let (stream, head) = ask_once(address, request).await?;
        if !head.starts_with("HTTP/1.1 429") {
            return Some((stream, head));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask_once(address: SocketAddr, request: &str) -> Option<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some((stream, String::from_utf8(head).unwrap()))
}

/// Returns the Noise key that clients are offered; nothing while the gateway does not answer.
async fn offered(address: SocketAddr) -> Option<MachinePublic> {
    let request =
        format!("GET /key?v={VERSION} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
    let (mut stream, _) = ask(address, &request).await?;
    let mut body = String::new();
    stream.read_to_string(&mut body).await.ok()?;
    let keys: KeyResponse = serde_json::from_str(&body).ok()?;
    Some(keys.public_key)
}

/// Shakes hands for a control key, as a client that knows it; nothing when the gateway refuses it.
async fn shake_hands(
    address: SocketAddr,
    control: MachinePublic,
) -> Option<NoiseStream<TcpStream>> {
    let machine = PrivateKey::from_random([7; 32]);
    let (initiator, initiation) = Initiator::begin(&machine, control, VERSION).unwrap();
    let request = format!(
        "POST /ts2021 HTTP/1.1\r\nhost: gateway\r\nupgrade: tailscale-control-protocol\r\n\
         connection: upgrade\r\nx-tailscale-handshake: {}\r\n\r\n",
        STANDARD.encode(initiation)
    );
    let (mut stream, head) = ask(address, &request).await?;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut response = [0; 51];
    stream.read_exact(&mut response).await.ok()?;
    let keys = initiator.finish(&response).ok()?;
    Some(NoiseStream::new(stream, &keys))
}

/// HTTP/2 inside a connection of Noise records.
struct TestSession(SendRequest<Empty<Bytes>>);

impl TestSession {
    async fn begin(mut stream: NoiseStream<TcpStream>) -> Self {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await.unwrap();
        assert!(header.starts_with(b"\xff\xff\xffTS"), "{header:?}");
        let length = u32::from_be_bytes(header[5..].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        let begun = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (requests, connection) = begun.unwrap();
        tokio::spawn(connection);
        Self(requests)
    }

    /// Gives a sign of life, and says whether it is taken.
    async fn is_served(&mut self) -> bool {
        let request = Request::get("https://gateway/machine/alive/1").body(Empty::new());
        let answer = self.0.send_request(request.unwrap()).await;
        answer.is_ok_and(|answer| answer.status() == 204)
    }
}

/// Awaits what is so soon.
async fn await_that(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the Noise key in a state.
fn key(directory: &Path, state: ControlKeyState) -> MachinePublic {
    let keys = ControlKeys::load(directory).unwrap();
    let found = keys.noise.with_states().find(|(one, _)| *one == state);
    MachinePublic::from_bytes(found.unwrap().1.public_bytes())
}

#[tokio::test]
async fn keys_are_rolled_in_phases_while_clients_go_on() {
    let Some(gateway) = TestGateway::new().await else {
        return;
    };
    let (address, keys) = (
        gateway.address,
        gateway.directory.path().join("control-keys"),
    );
    let _running = gateway.start("http://127.0.0.1");
    let first = key(&keys, ControlKeyState::Active);
    await_that("it serves", async || offered(address).await == Some(first)).await;
    // A session of before, which lives on.
    let session = shake_hands(address, first).await.unwrap();
    let mut session = TestSession::begin(session).await;
    assert!(session.is_served().await);
    let stranger = MachinePublic::from_bytes(PrivateKey::from_random([9; 32]).public_bytes());
    assert!(shake_hands(address, stranger).await.is_none());

    ControlKeys::prepare(&keys).unwrap();
    let next = key(&keys, ControlKeyState::Prepared);
    let opens = async |control| shake_hands(address, control).await.is_some();
    await_that("a prepared key opens", async || opens(next).await).await;
    assert_eq!(offered(address).await, Some(first), "and is not offered");
    assert!(opens(first).await);

    ControlKeys::activate(&keys).unwrap();
    await_that("it is offered", async || {
        offered(address).await == Some(next)
    })
    .await;
    assert!(opens(next).await);
    assert!(opens(first).await, "clients hold the old one");

    ControlKeys::retire(&keys).unwrap();
    await_that("it is refused", async || !opens(first).await).await;
    assert!(opens(next).await);
    assert_eq!(offered(address).await, Some(next));
    assert!(session.is_served().await, "the same all the time");
}

#[tokio::test]
async fn keys_come_from_a_command() {
    let Some(gateway) = TestGateway::new().await else {
        return;
    };
    let keys = gateway.directory.path().join("control-keys");
    let text = ControlKeys::load(&keys).unwrap().expose_text();
    let store = gateway.directory.path().join("store");
    std::fs::write(&store, text.as_bytes()).unwrap();
    let line = |command: &str| format!("control_keys_command = \"{command}\"");
    let command = line(&format!("cat {}", store.display()));
    let running = gateway.start_with("http://127.0.0.1", &command);
    let first = key(&keys, ControlKeyState::Active);
    let address = gateway.address;
    await_that("it serves", async || offered(address).await == Some(first)).await;
    drop(running);

    for (line, part) in [
        (line("echo no access >&2; false"), "no access"),
        (line("echo nonsense"), "line 1 of the control keys"),
        (
            format!("control_keys = \"x\"\n{command}"),
            "are both set: name one of them",
        ),
    ] {
        let said = refusal(gateway.start_with("http://127.0.0.1", &line)).await;
        assert!(said.contains(part), "{said}");
    }
}
