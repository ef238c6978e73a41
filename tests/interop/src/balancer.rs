//! A TCP balancer: hands each connection to the next server that takes it, and knows nothing of what is said on it.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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
        let (next, is_ended) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (servers, ended) = (servers.to_vec(), Arc::clone(&is_ended));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (servers, next) = (servers.clone(), Arc::clone(&next));
                thread::spawn(move || drop(carry(&client, &servers, &next)));
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
fn carry(client: &TcpStream, servers: &[SocketAddr], next: &AtomicUsize) -> io::Result<()> {
    let connect = |server: &SocketAddr| TcpStream::connect_timeout(server, Duration::from_secs(1));
    let first = next.fetch_add(1, Ordering::Relaxed);
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
