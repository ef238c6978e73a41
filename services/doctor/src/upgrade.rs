//! The upgrade to the protocol of clients, through whatever is in front of the server.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_clock::random_bytes;
use bowline_control_noise::Initiator;
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Empty;
use std::time::Duration;
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, timeout},
};

use crate::{
    control::{VERSION, describe_status, insert_host},
    exchange::{Answer, Destination, Exchanger, UpgradeAnswer, exchange},
    finding::{Finding, Judgement},
    place::ServerPlace,
};

const PROTOCOL: HeaderValue = HeaderValue::from_static("tailscale-control-protocol");
const PATH: &str = "/ts2021";
/// The length of the server's answer to a handshake.
const RESPONSE: usize = 51;
/// How long the answer may take once the connection is upgraded.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shakes hands as a machine that nobody knows, which asks for nothing.
pub(crate) async fn check_upgrade(
    exchanger: &Exchanger,
    place: &ServerPlace,
    destination: &Destination,
    key: MachinePublic,
) -> Finding {
    let begin = Instant::now();
    let judgement = shake_hands(exchanger, place, destination, key).await;
    let took = judgement.is_ok().then(|| begin.elapsed());
    let judgement = judgement.unwrap_or_else(|failure| failure);
    judgement.of("upgrade", destination.address.to_string(), took)
}

async fn shake_hands(
    exchanger: &Exchanger,
    place: &ServerPlace,
    destination: &Destination,
    key: MachinePublic,
) -> Result<Judgement, Judgement> {
    let machine = PrivateKey::from_random(random_bytes());
    let begun = Initiator::begin(&machine, key, VERSION);
    let (initiator, initiation) =
        begun.map_err(|error| Judgement::failed(format!("the control key is none: {error}")))?;
    let (stream, _) = exchanger.connect(destination).await?;
    let mut stream = match exchange(stream, request(place, &initiation)).await? {
        UpgradeAnswer::Upgraded(stream) => stream,
        UpgradeAnswer::Refused(answer) => return Err(judge_refusal(&answer)),
    };
    let mut response = [0; RESPONSE];
    match timeout(PATIENCE, stream.read_exact(&mut response)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            return Err(Judgement::failed(format!(
                "the connection is upgraded, and ends before the handshake ({error}): the proxy has to pass on what follows an upgrade, both ways"
            )));
        }
        Err(_) => {
            let text = "the connection is upgraded, and nothing follows: the proxy has to pass on what follows an upgrade at once, and buffer \
                        nothing";
            return Err(Judgement::failed(text));
        }
    }
    match initiator.finish(&response) {
        Ok(_) => Ok(Judgement::ok("the Noise handshake succeeds")),
        Err(error) => Err(Judgement::failed(format!(
            "the handshake fails ({error}): has each gateway the same control keys?"
        ))),
    }
}

fn request(place: &ServerPlace, initiation: &[u8]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = PATH.parse().unwrap_or_default();
    let headers = request.headers_mut();
    insert_host(headers, place);
    headers.insert(header::UPGRADE, PROTOCOL);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(handshake) = STANDARD.encode(initiation).parse() {
        headers.insert("x-tailscale-handshake", handshake);
    }
    request
}

/// Says why there is no upgrade.
fn judge_refusal(answer: &Answer) -> Judgement {
    let said = String::from_utf8_lossy(&answer.body);
    let headers = "see \"Behind a proxy\" in deploy/README.md";
    Judgement::failed(match answer.status {
        StatusCode::BAD_REQUEST if said.contains("Upgrade header is missing") => format!(
            "the request arrives without its Upgrade header: let the proxy pass Upgrade and Connection on, and speak HTTP/1.1 to the server; {headers}"
        ),
        StatusCode::BAD_REQUEST if said.contains("X-Tailscale-Handshake header is missing") => {
            format!(
                "the request arrives without its X-Tailscale-Handshake header: let the proxy pass all headers on; {headers}"
            )
        }
        StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::UPGRADE_REQUIRED => format!(
            "{PATH} answers {} and does not upgrade the connection: the proxy, or what else is on the way, can not pass upgrades on; {headers}",
            answer.status
        ),
        _ => describe_status(PATH, answer),
    })
}
