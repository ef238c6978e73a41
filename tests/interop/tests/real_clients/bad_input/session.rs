//! A current client, as far as its transport goes.

use std::convert::Infallible;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_control_noise::{Initiator, NoiseStream};
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::http::http;

/// Where the server is, inside whose namespace the test runs.
pub const ADDRESS: &str = "10.77.0.1:8080";

/// Returns the server's Noise key.
pub fn control_key() -> MachinePublic {
    let (status, body) = http("GET", "/key?v=130", b"");
    assert_eq!(status, 200);
    let keys: Value = serde_json::from_slice(&body).unwrap();
    keys["publicKey"].as_str().unwrap().parse().unwrap()
}

/// Asks for an upgrade with an initiation, and returns the connection after the head of the answer, with its status.
pub async fn upgrade(initiation: &[u8]) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(ADDRESS).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "POST /ts2021 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\
         Upgrade: tailscale-control-protocol\r\nContent-Length: 0\r\n\
         X-Tailscale-Handshake: {}\r\n\r\n",
        STANDARD.encode(initiation)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, stream)
}

/// Shakes hands and returns the records' stream, its early payload read.
pub async fn shake(machine: &PrivateKey, control: MachinePublic) -> NoiseStream<TcpStream> {
    let (initiator, initiation) = Initiator::begin(machine, control, 130).unwrap();
    let (status, mut stream) = upgrade(&initiation).await;
    assert_eq!(status, 101);
    let mut response = [0; 51];
    stream.read_exact(&mut response).await.unwrap();
    let keys = initiator.finish(&response).unwrap();
    let mut stream = NoiseStream::new(stream, &keys);
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(&header[..5], b"\xff\xff\xffTS");
    let length = u32::from_be_bytes(header[5..].try_into().unwrap());
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    stream
}

/// Returns the status and the body of an answer.
pub async fn text(answer: Response<Incoming>) -> (u16, String) {
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Requests inside Noise.
#[derive(Clone)]
pub struct Session(SendRequest<RequestBody>);

/// A body of any kind.
pub type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

impl Session {
    /// Connects as a machine.
    pub async fn open(machine: &PrivateKey, control: MachinePublic) -> Self {
        let stream = TokioIo::new(shake(machine, control).await);
        let (requests, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(requests)
    }

    /// Sends a request and returns the answer's head.
    pub async fn begin(
        &mut self,
        path: &str,
        body: impl Into<Bytes>,
    ) -> hyper::Result<Response<Incoming>> {
        self.begin_with(path, Full::new(body.into()).boxed_unsync())
            .await
    }

    /// Sends a request with a body of any kind and returns the answer's head.
    pub async fn begin_with(
        &mut self,
        path: &str,
        body: RequestBody,
    ) -> hyper::Result<Response<Incoming>> {
        let request = Request::post(format!("https://unused{path}"))
            .body(body)
            .unwrap();
        self.send(request).await
    }

    /// Sends a request as it is and returns the answer's head.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> hyper::Result<Response<Incoming>> {
        self.0.ready().await?;
        self.0.send_request(request).await
    }

    /// Sends a request and returns the status and the body of the answer.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> (u16, String) {
        text(self.begin(path, body).await.unwrap()).await
    }
}
