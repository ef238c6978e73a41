use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use super::*;

#[tokio::test]
async fn burst_of_connections_waits_in_the_queue() {
    let setting = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a setting");
    let most: usize = setting.trim().parse().expect("a number");
    let burst = most.min(600);
    let listener = listen_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut held = Vec::new();
    for number in 0..burst {
        // Whoever finds the queue full is not answered: his first packet is lost, and sent again after a second.
        let connecting =
            tokio::time::timeout(Duration::from_millis(800), TcpStream::connect(address));
        let connected = connecting.await;
        held.push(
            connected
                .unwrap_or_else(|_| unreachable!("{number} had to wait"))
                .expect("connected"),
        );
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let _local = listen_unix(&path).expect("a socket");
    for _ in 0..burst {
        let connecting = tokio::time::timeout(Duration::from_secs(10), UnixStream::connect(&path));
        let _connected = connecting.await.expect("at once").expect("connected");
    }
}
