//! Strangers who lie: what they send is bad input, and whoever believes it is at fault.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use bowline_clock::random_bytes;
use bowline_control_wire::RegisterResponse;
use bowline_keys::{NodePublic, PrivateKey};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{interval, timeout},
};

use crate::{
    dial::{VERSION, shake_hands, upgrade_request},
    fleet::FleetContext,
    link::LinkSwitch,
    node::source_address,
    session::{MachineSession, Transport},
};

/// How often one lies.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one waits for what becomes of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lies again and again about a node that somebody else has; returns with the first lie that is believed.
pub async fn lie_until_believed(
    context: Arc<FleetContext>,
    place: usize,
    victim: NodePublic,
) -> &'static str {
    let mut pause = interval(PAUSE);
    for number in place.. {
        pause.tick().await;
        let lie = LIES[number % LIES.len()];
        // A lie that ends in an error was not believed.
        if tell(lie, &context, place, victim).await.unwrap_or(false) {
            return lie;
        }
    }
    "nothing"
}

/// What is told.
const LIES: [&str; 6] = [
    "a handshake of noise",
    "HTTP/2 of noise",
    "a key of nobody",
    "a registration of half a document",
    "the netmap of somebody else",
    "a report for somebody else",
];

/// Tells a lie; says whether it was believed.
async fn tell(lie: &str, context: &FleetContext, place: usize, victim: NodePublic) -> Result<bool> {
    let gateway = &context.gateways[place % context.gateways.len()];
    let mut stream = gateway
        .dial(source_address(place), LinkSwitch::healthy())
        .await?;
    let machine = Arc::new(PrivateKey::from_random(random_bytes()));
    if lie == LIES[0] {
        stream
            .write_all(&upgrade_request(&random_bytes::<101>()))
            .await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await);
        // A response is of type 2, an error of type 3.
        return Ok(answer
            .split(|byte| *byte == b'\n')
            .next_back()
            .is_some_and(|last| last.starts_with(&[2])));
    }
    if lie == LIES[1] {
        let mut stream = shake_hands(stream, &machine, context.keys.public_key).await?;
        stream.write_all(&random_bytes::<4000>()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await);
        return Ok(answer.len() > 4000);
    }
    let mut session =
        MachineSession::begin(stream, Transport::Noise, &machine, &context.keys).await?;
    let mut ask = async |what: &str, request: Vec<u8>| {
        timeout(PATIENCE, session.ask_all(what, request)).await?
    };
    match lie {
        "a key of nobody" => {
            let key = NodePublic::from_bytes(random_bytes());
            let request =
                json!({ "Version": VERSION, "NodeKey": key, "Auth": { "AuthKey": "nonsense" } });
            let answer: RegisterResponse =
                serde_json::from_slice(&ask("register", request.to_string().into()).await?)?;
            Ok(answer.error.is_empty() && answer.machine_authorized)
        }
        "a registration of half a document" => {
            let request = json!({ "Version": VERSION, "NodeKey": victim }).to_string();
            ask("register", request[..request.len() - 9].into())
                .await
                .map(|_| true)
        }
        "the netmap of somebody else" => {
            let request = json!({ "Version": VERSION, "NodeKey": victim });
            ask("map", request.to_string().into()).await.map(|_| true)
        }
        _ => {
            let endpoints = vec!["192.0.2.1:1"; 10];
            let request = json!({ "Version": VERSION, "NodeKey": victim, "OmitPeers": true, "Endpoints": endpoints });
            ask("map", request.to_string().into()).await.map(|_| true)
        }
    }
}
