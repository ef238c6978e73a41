//! A TCP balancer: the source of a connection decides which server it is handed to, the next one if that takes none. It
//! knows nothing of what is said on it.

use std::{
    io,
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// A running balancer; no new connections are taken once it is dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    is_ended: Arc<AtomicBool>,
}

impl Balancer {
    /// Listens on an address in front of servers.
    ///
    /// # Errors
    ///
    /// When the address can not be listened on.
    pub fn start(address: &str, servers: &[SocketAddr]) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let is_ended = Arc::new(AtomicBool::new(false));
        let (servers, ended) = (servers.to_vec(), Arc::clone(&is_ended));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let servers = servers.clone();
                thread::spawn(move || drop(carry(&client, &servers)));
            }
        });
        Ok(Self { address, is_ended })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Relaxed);
        // Wakes it once more.
        drop(TcpStream::connect(self.address));
    }
}

/// Carries bytes both ways until both sides have ended.
fn carry(client: &TcpStream, servers: &[SocketAddr]) -> io::Result<()> {
    let connect = |server: &SocketAddr| TcpStream::connect_timeout(server, Duration::from_secs(1));
    let first = match client.peer_addr()?.ip() {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]),
        IpAddr::V6(ip) => usize::from(ip.octets()[15]),
    };
    let mut in_turn = (first..first + servers.len()).map(|place| &servers[place % servers.len()]);
    let Some(server) = in_turn.find_map(|server| connect(server).ok()) else {
        return Ok(());
    };
    let (to_client, from_server) = (client.try_clone()?, server.try_clone()?);
    let back = thread::spawn(move || pass(&from_server, &to_client));
    pass(client, &server);
    drop(back.join());
    Ok(())
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}
