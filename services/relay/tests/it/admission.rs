use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_keys::NodePublic;
use bowline_relay::{AdmissionVerdict, Limits, NodeAdmission};
use tokio::net::TcpStream;

use crate::client::{CLIENT_INFO, Client, GET, PEER_GONE, PING, PONG, public, sealed_info, secret};
use crate::server::{Server, admitted, limits, relay};

/// Answers by a table that a test changes; nodes that are not in it are refused.
#[derive(Default)]
struct Table(Mutex<BTreeMap<[u8; 32], AdmissionVerdict>>);

impl Table {
    fn set(&self, number: u8, verdict: AdmissionVerdict) {
        self.0.lock().unwrap().insert(public(number), verdict);
    }
}

#[async_trait::async_trait]
impl NodeAdmission for Table {
    async fn judge_node(&self, node: NodePublic, source: IpAddr) -> AdmissionVerdict {
        assert!(source.is_loopback());
        let table = self.0.lock().unwrap();
        table
            .get(node.as_bytes())
            .cloned()
            .unwrap_or(AdmissionVerdict::Refused)
    }
}

async fn server(table: &Arc<Table>) -> Server {
    let limits = Limits {
        admission_ttl: Duration::from_millis(80),
        ..limits()
    };
    Server::with(relay(table.clone(), limits), None).await
}

#[tokio::test]
async fn node_that_is_not_admitted_is_not_served() {
    let table = Arc::new(Table::default());
    table.set(2, AdmissionVerdict::Unknown);
    let server = server(&table).await;
    for stranger in [1, 2] {
        let stream = TcpStream::connect(server.http).await.unwrap();
        let mut client = Client::upgrade(stream, stranger, GET).await;
        let relay = client.greeting().await;
        let info = sealed_info(relay, &secret(stranger), r#"{"version":2}"#);
        client.send(CLIENT_INFO, &info).await;
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test]
async fn revoked_node_is_cut_and_others_stay() {
    let table = Arc::new(Table::default());
    table.set(1, AdmissionVerdict::Allowed(admitted(1, 1)));
    table.set(2, AdmissionVerdict::Allowed(admitted(1, 1)));
    let server = server(&table).await;
    let mut revoked = Client::connect(server.http, 1).await;
    let mut other = Client::connect(server.http, 2).await;

    table.set(1, AdmissionVerdict::Refused);
    assert_eq!(revoked.rest().await, b"");
    other.settle().await;
}

#[tokio::test]
async fn admitted_node_is_served_on_while_nobody_can_be_asked() {
    let table = Arc::new(Table::default());
    table.set(1, AdmissionVerdict::Allowed(admitted(1, 1)));
    table.set(2, AdmissionVerdict::Allowed(admitted(1, 1)));
    let server = server(&table).await;
    let mut known = Client::connect(server.http, 1).await;
    let mut revoked = Client::connect(server.http, 2).await;

    // The second is cut only after a question that also the first was asked about without an answer.
    table.set(1, AdmissionVerdict::Unknown);
    revoked.settle().await;
    table.set(2, AdmissionVerdict::Refused);
    revoked.rest().await;
    known.settle().await;
    Client::connect(server.http, 1).await.settle().await;
}

/// Returns what a sender hears when it sends to a key `packets` times and then pings.
async fn heard(sender: &mut Client, to: u8, packets: usize) -> Vec<Vec<u8>> {
    for _ in 0..packets {
        sender.send_packet(to, b"anyone?").await;
    }
    sender.send(PING, b"the last").await;
    let mut heard = Vec::new();
    loop {
        let (kind, body) = sender.recv().await;
        if kind == PONG {
            return heard;
        }
        assert_eq!(kind, PEER_GONE);
        heard.push(body);
    }
}

#[tokio::test]
async fn key_of_another_tailnet_is_as_absent_as_an_unknown_one() {
    let table = Arc::new(Table::default());
    for (node, of) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        table.set(node, AdmissionVerdict::Allowed(admitted(of, 1)));
    }
    let server = server(&table).await;
    let mut alice = Client::connect(server.http, 1).await;
    let mut bob = Client::connect(server.http, 2).await;
    let mut foreign = Client::connect(server.http, 3).await;
    let mut dave = Client::connect(server.http, 4).await;

    // Two senders, since what each is told is paced.
    let of_foreign = heard(&mut alice, 3, 2).await;
    let of_unknown = heard(&mut dave, 9, 2).await;
    assert_eq!(of_foreign, vec![[&public(3)[..], &[1]].concat(); 2]);
    assert_eq!(of_unknown, vec![[&public(9)[..], &[1]].concat(); 2]);
    // Nothing came through: the next thing it gets is its own answer.
    foreign.settle().await;

    alice.send_packet(2, b"hello").await;
    assert_eq!(bob.recv_packet().await, (public(1), b"hello".to_vec()));
    drop(foreign);
    // Those who were never reached are not told of the end either.
    alice.settle().await;
}

#[tokio::test]
async fn node_that_came_to_another_tailnet_is_cut() {
    let table = Arc::new(Table::default());
    table.set(1, AdmissionVerdict::Allowed(admitted(1, 1)));
    let server = server(&table).await;
    let mut moved = Client::connect(server.http, 1).await;
    table.set(1, AdmissionVerdict::Allowed(admitted(2, 1)));
    assert_eq!(moved.rest().await, b"");
}
