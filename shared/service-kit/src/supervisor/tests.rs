use std::convert::Infallible;

use tokio::time::timeout;

use super::*;
use crate::{Shutdown, Tasks};

/// What a service manager hears.
struct ManagerSocket {
    socket: tokio::net::UnixDatagram,
    directory: tempfile::TempDir,
}

impl ManagerSocket {
    fn listen() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = tokio::net::UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    /// The variables it starts a process with.
    fn variables(&self, patience: &str) -> Vec<(String, String)> {
        let path = self.directory.path().join("notify").display().to_string();
        [
            ("NOTIFY_SOCKET", &*path),
            ("WATCHDOG_USEC", patience),
            ("WATCHDOG_PID", "7"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    async fn next(&self) -> String {
        let mut datagram = [0; 4096];
        let receiving = self.socket.recv(&mut datagram);
        let length = timeout(Duration::from_secs(10), receiving).await.unwrap();
        String::from_utf8(datagram[..length.unwrap()].to_vec()).unwrap()
    }
}

fn tasks() -> Tasks {
    Tasks::new(Shutdown::new(Duration::from_secs(20)))
}

#[tokio::test]
async fn a_service_manager_hears_when_the_process_is_ready_lives_and_ends() {
    let heard = ManagerSocket::listen();
    let supervisor = Supervisor::named_by(heard.variables("20000"), 7);
    let tasks = tasks();
    let shutdown = tasks.shutdown().clone();
    let running = tokio::spawn(tasks.run_under(supervisor));
    assert_eq!(heard.next().await, "READY=1\nSTATUS=serving");
    for _ in 0..3 {
        assert_eq!(heard.next().await, "WATCHDOG=1");
    }
    shutdown.drain();
    let last = loop {
        let message = heard.next().await;
        if message != "WATCHDOG=1" {
            break message;
        }
    };
    assert_eq!(
        last,
        "STOPPING=1\nSTATUS=draining, for 20 seconds at most\nEXTEND_TIMEOUT_USEC=30000000"
    );
    assert_eq!(running.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_service_manager_hears_why_the_process_ends() {
    let heard = ManagerSocket::listen();
    let tasks = tasks();
    tasks.spawn_critical("lease", async { Ok::<_, Infallible>(()) });
    let supervisor = Supervisor::named_by(heard.variables(""), 7);
    tasks.run_under(supervisor).await.unwrap_err();
    assert_eq!(heard.next().await, "READY=1\nSTATUS=serving");
    assert!(heard.next().await.starts_with("STOPPING=1\n"));
    assert_eq!(heard.next().await, "STATUS=task lease ended early");
}

#[tokio::test]
async fn a_watchdog_of_another_process_is_left_to_it() {
    let heard = ManagerSocket::listen();
    let supervisor = Supervisor::named_by(heard.variables("20000"), 8);
    // It would go on for ever otherwise.
    let reporting = supervisor.keep_reporting_life();
    timeout(Duration::from_secs(10), reporting).await.unwrap();
}

#[tokio::test]
async fn a_socket_outside_of_file_systems_is_found() {
    let name = format!("bowline-supervisor-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    send_datagram(&format!("@{name}"), "READY=1").unwrap();
    let mut datagram = [0; 16];
    let length = socket.recv(&mut datagram).unwrap();
    assert_eq!(&datagram[..length], b"READY=1");
}
