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
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
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
pub fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    socket.listen(QUEUE)
}

#[cfg(test)]
mod tests;
