//! Sockets that listen with as long a queue as the system allows.

use std::{io, net::SocketAddr, path::Path};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

/// How many connections may wait to be accepted; the system cuts it to its own limit (`net.core.somaxconn`). A queue
/// that overflows costs clients whole seconds each.
const QUEUE: u32 = 65_535;

/// Listens on a TCP address.
///
/// # Errors
///
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Listens on a local socket.
///
/// # Errors
///
/// What the system says.
pub fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    socket.listen(QUEUE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpStream, UnixStream};

    use super::*;

    #[tokio::test]
    async fn burst_of_connections_waits_in_the_queue() {
        let setting = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a setting");
        let most: usize = setting.trim().parse().expect("a number");
        let burst = most.min(600);
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
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
        let _local = listen_at(&path).expect("a socket");
        for _ in 0..burst {
            let connecting =
                tokio::time::timeout(Duration::from_secs(10), UnixStream::connect(&path));
            let _connected = connecting.await.expect("at once").expect("connected");
        }
    }
}
