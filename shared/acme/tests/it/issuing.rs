//! Issuing, renewing, and failing.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bowline_acme::{AcmeConfig, AcmePlan, AcmeResolver};
use bowline_clock::SystemClock;
use bowline_service_kit::{Shutdown, Tasks, install_crypto_provider};
use bowline_test_servers::{PebbleOptions, PebbleServer};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::listener::{TestClient, echo, exchange};

const SOON: Duration = Duration::from_secs(60);
const DAY: u64 = 24 * 3600;

/// A Pebble, a port that it looks at, and a directory for what it issues.
struct TestAuthority {
    pebble: PebbleServer,
    socket: Option<TcpListener>,
    tls_port: u16,
    http_port: u16,
    directory: TempDir,
}

impl TestAuthority {
    async fn start(validity_seconds: u64) -> Option<Self> {
        install_crypto_provider();
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let tls_port = socket.local_addr().unwrap().port();
        let http_port = PebbleServer::free_port().unwrap();
        let options = PebbleOptions {
            tls_port,
            http_port,
            validity_seconds,
        };
        Some(Self {
            pebble: PebbleServer::start(options).unwrap()?,
            socket: Some(socket),
            tls_port,
            http_port,
            directory: tempfile::tempdir().unwrap(),
        })
    }

    fn config(&self) -> AcmeConfig {
        AcmeConfig {
            agree_to_terms: true,
            directory_url: self.pebble.directory_url(),
            directory_ca_file: Some(self.pebble.ca_file()),
            contact: Some("admin@example.com".to_owned()),
            state_dir: self.directory.path().to_owned(),
            ..AcmeConfig::default()
        }
    }

    /// Speaks TLS at the port with what others have ordered.
    fn serve(&mut self, plan: &AcmePlan) {
        let resolver = Arc::new(AcmeResolver::open(plan).unwrap());
        let socket = self.socket.take().unwrap();
        tokio::spawn(echo(socket, resolver));
    }
}

fn plan(config: &AcmeConfig) -> AcmePlan {
    let own = config.hosts.first();
    let own = own.map_or("vpn.example.com", String::as_str);
    config.plan(own).unwrap().unwrap()
}

/// Starts what orders, as a process does.
fn start_keeper(config: &AcmeConfig) -> Tasks {
    let tasks = Tasks::new(Shutdown::new(Duration::ZERO));
    bowline_acme::start(plan(config), Arc::new(SystemClock), &tasks).unwrap();
    tasks
}

/// Returns the text of a file somewhere below a directory, as soon as a word is in it.
async fn wait_for_text(directory: &Path, name: &str, word: &str) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let text = find(directory, name).and_then(|path| std::fs::read_to_string(path).ok());
        if let Some(text) = text.filter(|text| text.contains(word)) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {name} with {word}");
        tokio::task::yield_now().await;
    }
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path.ends_with(name) {
            return Some(path);
        }
    }
    None
}

#[tokio::test]
async fn two_replicas_order_once_and_renew_in_time_while_a_connection_stays_open() {
    let Some(mut authority) = TestAuthority::start(15).await else {
        return;
    };
    let config = AcmeConfig {
        hosts: vec!["vpn.example.com".to_owned(), "b.example.com".to_owned()],
        ..authority.config()
    };
    // A third answers the challenges, which ordered nothing.
    authority.serve(&plan(&config));
    let (_first, _second) = (start_keeper(&config), start_keeper(&config));
    let client = TestClient::new(&authority.pebble, authority.tls_port, "b.example.com").await;
    let (mut stream, shown) = client.connect_with_other(None).await;
    assert_eq!(authority.pebble.count_orders().unwrap(), 1);
    // One that starts now finds it there.
    let _third = start_keeper(&config);

    let (_, renewed) = client.connect_with_other(Some(&shown)).await;
    assert_ne!(renewed, shown);
    assert_eq!(authority.pebble.count_orders().unwrap(), 2);
    exchange(&mut stream).await;
}

#[tokio::test]
async fn host_is_proven_at_port_80_where_that_is_listened_on() {
    let Some(mut authority) = TestAuthority::start(90 * DAY).await else {
        return;
    };
    let config = AcmeConfig {
        http_listen: Some((Ipv4Addr::LOCALHOST, authority.http_port).into()),
        ..authority.config()
    };
    authority.serve(&plan(&config));
    let _tasks = start_keeper(&config);
    let client = TestClient::new(&authority.pebble, authority.tls_port, "vpn.example.com").await;
    let (mut stream, _) = client.connect_with_other(None).await;
    exchange(&mut stream).await;
}

#[tokio::test]
async fn failed_challenge_is_told_in_words_and_not_tried_again_by_a_start() {
    let Some(mut authority) = TestAuthority::start(90 * DAY).await else {
        return;
    };
    // Nobody listens.
    drop(authority.socket.take());
    let config = authority.config();
    let _first = start_keeper(&config);
    let place = authority.directory.path();
    let failed = wait_for_text(place, "vpn.example.com/failed.json", "vpn.example.com").await;
    assert!(
        failed.contains("can not prove vpn.example.com by TLS-ALPN-01")
            && failed.contains("Failed to connect"),
        "{failed}"
    );
    assert!(failed.contains("at port 443 of each address"), "{failed}");
    assert_eq!(authority.pebble.count_orders().unwrap(), 1);

    // Another start orders for another host alone.
    let _second = start_keeper(&config);
    let other = AcmeConfig {
        hosts: vec!["b.example.com".to_owned()],
        ..config
    };
    let _third = start_keeper(&other);
    let deadline = Instant::now() + SOON;
    while authority.pebble.count_orders().unwrap() < 2 {
        assert!(Instant::now() < deadline, "nothing is ordered");
        tokio::task::yield_now().await;
    }
    let again = wait_for_text(place, "vpn.example.com/failed.json", "vpn.example.com").await;
    assert_eq!(again, failed, "the first host was not tried again");
}

#[tokio::test]
async fn authority_that_is_away_or_not_trusted_is_named() {
    let Some(authority) = TestAuthority::start(90 * DAY).await else {
        return;
    };
    // The machine's authorities have not signed for it.
    let config = AcmeConfig {
        directory_ca_file: None,
        ..authority.config()
    };
    let _tasks = start_keeper(&config);
    let place = authority.directory.path();
    let failed = wait_for_text(place, "vpn.example.com/failed.json", "can not be asked").await;
    assert!(failed.contains(&config.directory_url), "{failed}");
    assert!(failed.contains("certificate"), "{failed}");
}
