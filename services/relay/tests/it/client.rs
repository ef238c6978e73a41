use std::net::SocketAddr;

use crypto_box::aead::Aead;
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::server::SOON;

pub(crate) const SERVER_KEY: u8 = 0x01;
pub(crate) const CLIENT_INFO: u8 = 0x02;
pub(crate) const SERVER_INFO: u8 = 0x03;
pub(crate) const SEND_PACKET: u8 = 0x04;
pub(crate) const RECV_PACKET: u8 = 0x05;
pub(crate) const KEEP_ALIVE: u8 = 0x06;
pub(crate) const PEER_GONE: u8 = 0x08;
pub(crate) const PING: u8 = 0x12;
pub(crate) const PONG: u8 = 0x13;
pub(crate) const RESTARTING: u8 = 0x15;

/// Packets of 64 KiB that are more than the sockets of one connection hold.
pub(crate) const FLOOD: u32 = 320;

pub(crate) const GET: &str =
    "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n";

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection on which frames are read and written by hand.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    secret: SecretKey,
}

pub(crate) fn secret(number: u8) -> SecretKey {
    SecretKey::from([number; 32])
}

pub(crate) fn public(number: u8) -> [u8; 32] {
    secret(number).public_key().to_bytes()
}

pub(crate) fn sealed_info(relay: [u8; 32], secret: &SecretKey, json: &str) -> Vec<u8> {
    let shared = SalsaBox::new(&PublicKey::from(relay), secret);
    let sealed = shared.encrypt(&[4; 24].into(), json.as_bytes()).unwrap();
    [&secret.public_key().to_bytes()[..], &[4; 24], &sealed].concat()
}

impl Client {
    /// Connects as the node whose secret key is `number` repeated.
    pub(crate) async fn connect(address: SocketAddr, number: u8) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::join(stream, number, r#"{"version":2}"#).await
    }

    /// Connects with little room to receive; the caller reads nothing from it.
    pub(crate) async fn deaf(address: SocketAddr, number: u8) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self::join(stream, number, r#"{"version":2}"#).await
    }

    /// Sends [`FLOOD`] packets, and waits after each, so that the relay has time to pass it on.
    pub(crate) async fn flood(&mut self, to: u8) {
        for _ in 0..FLOOD {
            self.send_packet(to, &[7; 64 << 10]).await;
            self.settle().await;
        }
    }

    pub(crate) async fn join(stream: impl Stream + 'static, number: u8, json: &str) -> Self {
        let mut client = Self::upgrade(stream, number, GET).await;
        let relay = client.greeting().await;
        client.introduce(relay, json).await;
        client
    }

    /// Upgrades to DERP and goes no further.
    pub(crate) async fn upgrade(stream: impl Stream + 'static, number: u8, request: &str) -> Self {
        let mut client = Self::silent(stream, number);
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// A stream on which nothing has been said.
    pub(crate) fn silent(stream: impl Stream + 'static, number: u8) -> Self {
        Self {
            stream: BufReader::new(Box::new(stream)),
            secret: secret(number),
        }
    }

    /// Reads an HTTP response head.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(SOON, self.stream.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads the greeting and returns the relay's key.
    pub(crate) async fn greeting(&mut self) -> [u8; 32] {
        let (kind, body) = self.recv().await;
        assert_eq!((kind, &body[..8]), (SERVER_KEY, "DERP🔑".as_bytes()));
        body[8..].try_into().unwrap()
    }

    /// Sends ClientInfo and checks ServerInfo.
    pub(crate) async fn introduce(&mut self, relay: [u8; 32], json: &str) {
        self.send(CLIENT_INFO, &sealed_info(relay, &self.secret, json))
            .await;
        let (kind, body) = self.recv().await;
        assert_eq!(kind, SERVER_INFO);
        let shared = SalsaBox::new(&PublicKey::from(relay), &self.secret);
        let nonce: [u8; 24] = body[..24].try_into().unwrap();
        let opened = shared.decrypt(&nonce.into(), &body[24..]).unwrap();
        assert_eq!(opened, br#"{"version":2}"#);
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(SOON, writing)
            .await
            .expect("the relay reads")
            .unwrap();
    }

    pub(crate) async fn send(&mut self, kind: u8, body: &[u8]) {
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        self.write(&[&[kind], &len[..], body].concat()).await;
    }

    pub(crate) async fn send_packet(&mut self, to: u8, packet: &[u8]) {
        self.send(SEND_PACKET, &[&public(to)[..], packet].concat())
            .await;
    }

    pub(crate) async fn recv(&mut self) -> (u8, Vec<u8>) {
        let reading = async {
            let kind = self.stream.read_u8().await?;
            let len = self.stream.read_u32().await?;
            let mut body = vec![0; usize::try_from(len).unwrap()];
            self.stream.read_exact(&mut body).await?;
            std::io::Result::Ok((kind, body))
        };
        timeout(SOON, reading)
            .await
            .expect("a frame comes")
            .expect("the connection holds")
    }

    pub(crate) async fn recv_packet(&mut self) -> ([u8; 32], Vec<u8>) {
        let (kind, body) = self.recv().await;
        assert_eq!(kind, RECV_PACKET);
        (body[..32].try_into().unwrap(), body[32..].to_vec())
    }

    /// Waits until the relay has handled everything sent so far.
    pub(crate) async fn settle(&mut self) {
        self.send(PING, b"settled?").await;
        assert_eq!(self.recv().await, (PONG, b"settled?".to_vec()));
    }

    /// Reads until the relay closes the connection and returns what came before.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let closed = timeout(SOON, self.stream.read_to_end(&mut rest)).await;
        // A reset is a close as well: the relay does not read what it refuses.
        let _ = closed.expect("the relay closes the connection");
        rest
    }
}
