//! A client that can open no connection but a WebSocket, as one in a browser: `GET /ts2021` (protocol section 4.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_clock::random_bytes;
use bowline_control_noise::{Initiator, NoiseStream};
use bowline_control_wire::{Compression, decode_frame};
use bowline_interop::{Client, Host, Release, Server, inside};
use bowline_keys::{MachinePublic, NodePublic, PrivateKey};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::TcpStream,
};

use super::{SOON, http::http};

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
/// Bytes of one message sent: boundaries mean nothing, so that a record is cut into several.
const MESSAGE: usize = 100;

/// Opens a WebSocket and returns the bytes inside it.
async fn open(initiation: &[u8]) -> DuplexStream {
    let mut socket = TcpStream::connect("10.77.0.1:8080").await.unwrap();
    let handshake = STANDARD
        .encode(initiation)
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let head = format!(
        "GET /ts2021?X-Tailscale-Handshake={handshake} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nOrigin: https://elsewhere.example\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: tailscale-control-protocol\r\n\r\n",
        STANDARD.encode(random_bytes::<16>())
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(
        answer.contains("sec-websocket-protocol: tailscale-control-protocol\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
    let (inner, outer) = tokio::io::duplex(1 << 16);
    let (receiver, sender) = socket.into_split();
    let (from_inner, to_inner) = tokio::io::split(outer);
    tokio::spawn(receive(receiver, to_inner));
    tokio::spawn(send(from_inner, sender));
    inner
}

/// Passes on the payload of each message received, to the end of the connection, or of who reads it.
async fn receive(mut socket: impl AsyncRead + Unpin, mut payload: impl AsyncWrite + Unpin) {
    while let Ok(first) = socket.read_u8().await {
        let second = socket.read_u8().await.unwrap();
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        assert_eq!(first & 0x70, 0, "no extension was agreed on");
        let length = match second {
            126 => u64::from(socket.read_u16().await.unwrap()),
            127 => socket.read_u64().await.unwrap(),
            short => short.into(),
        };
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut bytes).await.unwrap();
        let is_payload = [CONTINUATION, BINARY].contains(&(first & 0x0f));
        if is_payload && payload.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Sends bytes as masked binary messages.
async fn send(mut payload: impl AsyncRead + Unpin, mut socket: impl AsyncWrite + Unpin) {
    let mut buffer = [0; MESSAGE];
    while let Ok(length) = payload.read(&mut buffer).await {
        let mask: [u8; 4] = random_bytes();
        let masked = buffer[..length].iter().zip(mask.iter().cycle());
        let short = u8::try_from(length).unwrap();
        let mut message = vec![0x80 | BINARY, 0x80 | short];
        message.extend(mask);
        message.extend(masked.map(|(byte, mask)| byte ^ mask));
        if length == 0 || socket.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// Shakes hands inside a WebSocket and returns what sends requests.
async fn connect(machine: &PrivateKey, control: MachinePublic) -> http2::SendRequest<Full<Bytes>> {
    let (initiator, initiation) = Initiator::begin(machine, control, 130).unwrap();
    let mut stream = open(&initiation).await;
    let mut response = [0; 51];
    stream.read_exact(&mut response).await.unwrap();
    let keys = initiator.finish(&response).unwrap();
    let mut stream = NoiseStream::new(stream, &keys);
    let mut early = [0; 9];
    stream.read_exact(&mut early).await.unwrap();
    assert_eq!(&early[..5], b"\xff\xff\xffTS");
    let length = u32::from_be_bytes(early[5..].try_into().unwrap());
    let mut challenge = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut challenge).await.unwrap();
    let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    requests
}

async fn post(
    requests: &mut http2::SendRequest<Full<Bytes>>,
    path: &str,
    body: &Value,
) -> Response<Incoming> {
    requests.ready().await.unwrap();
    let request = Request::post(format!("https://unused{path}"))
        .body(Full::from(body.to_string()))
        .unwrap();
    let answer = requests.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer
}

/// Returns the next message of a stream.
async fn message(frames: &mut Incoming, received: &mut BytesMut) -> Value {
    loop {
        if let Some(json) = decode_frame(received, Compression::None, 1 << 20).unwrap() {
            return serde_json::from_slice(&json).unwrap();
        }
        let frame = tokio::time::timeout(SOON, frames.frame()).await;
        let frame = frame.unwrap().expect("the stream lives").unwrap();
        received.extend_from_slice(&frame.into_data().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_in_a_browser_joins_and_hears_of_changes() {
    let name = "websocket::client_in_a_browser_joins_and_hears_of_changes";
    let Some(hosts) = inside(name, 1) else { return };
    let server = Server::start(Host::here(), "").unwrap();
    let auth_key = server.key().unwrap();
    let one = Client::start(hosts[0].clone(), Release::Current, &[]).unwrap();
    one.join(&server.url, &auth_key, "c1").unwrap();

    let (status, body) = http("GET", "/key?v=130", b"");
    assert_eq!(status, 200);
    let keys: Value = serde_json::from_slice(&body).unwrap();
    let control = keys["publicKey"].as_str().unwrap().parse().unwrap();
    let machine = PrivateKey::from_random(random_bytes());
    let node = PrivateKey::from_random(random_bytes()).public_bytes();
    let node = NodePublic::from_bytes(node).to_string();
    let mut requests = connect(&machine, control).await;
    let register = json!({
        "Version": 130, "NodeKey": node, "Auth": { "AuthKey": auth_key },
        "Hostinfo": { "Hostname": "browser", "OS": "js" },
    });
    let answer = post(&mut requests, "/machine/register", &register).await;
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["MachineAuthorized"], true, "{answer}");

    let poll = json!({ "Version": 130, "NodeKey": node, "Stream": true });
    let answer = post(&mut requests, "/machine/map", &poll).await;
    let (mut frames, mut received) = (answer.into_body(), BytesMut::new());
    let first = message(&mut frames, &mut received).await;
    let peer = first["Peers"][0]["Name"].as_str().unwrap();
    assert!(peer.starts_with("c1.home."), "{first}");
    one.wait_for_peers(&["browser"], SOON);

    server
        .bowline(&["nodes", "rename", "c1", "renamed"])
        .unwrap();
    let mut told = String::new();
    while !told.contains("renamed.home.") {
        told = message(&mut frames, &mut received).await.to_string();
    }
    server.bowline(&["nodes", "delete", "browser"]).unwrap();
    one.wait_for_peers(&[], SOON);
    let ended = async { while let Some(Ok(_)) = frames.frame().await {} };
    let ended = tokio::time::timeout(SOON, ended).await;
    assert!(ended.is_ok(), "the stream of a deleted node ends");
}
