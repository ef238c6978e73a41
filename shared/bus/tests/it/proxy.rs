//! A way to Redis that can fall silent with its connections open.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

pub(crate) struct Proxy {
    pub(crate) url: String,
    /// Tells of each connection.
    pub(crate) connected: mpsc::UnboundedReceiver<()>,
    /// While true, nothing is passed on.
    pub(crate) is_frozen: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (sender, connected) = mpsc::unbounded_channel();
        let is_frozen = watch::Sender::new(false);
        let frozen = is_frozen.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (client_read, client_write) = client.into_split();
                let server = TcpStream::connect(target).await.unwrap();
                let (server_read, server_write) = server.into_split();
                tokio::spawn(copy(client_read, server_write, frozen.clone()));
                tokio::spawn(copy(server_read, client_write, frozen.clone()));
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
        Self {
            url,
            connected,
            is_frozen,
        }
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let thaw = frozen.wait_for(|is_frozen| !is_frozen);
        if thaw.await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
