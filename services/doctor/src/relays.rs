//! The relays that clients are told of.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bowline_clock::{Clock as _, SystemClock};
use bowline_control_wire::{DerpMap, DerpNode};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, header};
use http_body_util::Empty;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};

use crate::{
    certificate,
    exchange::{Destination, Exchanger, UpgradeAnswer, exchange},
    finding::{Finding, Judgement},
    secure::ShownChain,
    stun,
};

/// How many relays are looked at.
const MOST_RELAYS: usize = 64;
/// The ports that the map leaves out.
const TLS_PORT: u16 = 443;
const STUN_PORT: u16 = 3478;
/// What a name begins with that is the hash of a certificate.
const HASH_PREFIX: &str = "sha256-raw:";
/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks all relays, beside each other.
pub(crate) async fn examine_relays(exchanger: &Exchanger, map: &DerpMap) -> Vec<Finding> {
    let nodes = map.regions.values().flat_map(|region| &region.nodes);
    let checks = nodes
        .take(MOST_RELAYS)
        .map(|node| examine_relay(exchanger, node));
    join_all(checks).await.into_iter().flatten().collect()
}

async fn examine_relay(exchanger: &Exchanger, node: &DerpNode) -> Vec<Finding> {
    let shown_as = format!("{} ({})", node.host_name, node.name);
    let address = match find_address(node).await {
        Ok(address) => address,
        Err(judgement) => return vec![judgement.of("relay", shown_as, None)],
    };
    let mut findings = Vec::new();
    if !node.stun_only {
        let port = if node.derp_port == 0 {
            TLS_PORT
        } else {
            node.derp_port
        };
        let socket = SocketAddr::new(address, port);
        findings.extend(check_relay(exchanger, node, socket, &shown_as).await);
    }
    if let Some(port) = stun_port(node) {
        findings.push(stun::check_stun(SocketAddr::new(address, port), &shown_as).await);
    }
    findings
}

/// Returns the port of STUN; nothing where it is turned off.
fn stun_port(node: &DerpNode) -> Option<u16> {
    match node.stun_port {
        0 => Some(STUN_PORT),
        port => u16::try_from(port).ok(),
    }
}

async fn find_address(node: &DerpNode) -> Result<IpAddr, Judgement> {
    if let Ok(address) = node.ipv4.parse() {
        return Ok(address);
    }
    if let Ok(address) = node.host_name.parse() {
        return Ok(address);
    }
    let name = node.host_name.as_str();
    let found = timeout(PATIENCE, tokio::net::lookup_host((name, 0))).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        _ => Vec::new(),
    };
    // Any machine has a way to IPv4, if only through NAT.
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).copied().ok_or_else(|| {
        let text = "the relay's name leads nowhere: make an A record or an AAAA record for it, or mend the map of relays";
        Judgement::failed(text)
    })
}

async fn check_relay(
    exchanger: &Exchanger,
    node: &DerpNode,
    address: SocketAddr,
    shown_as: &str,
) -> Vec<Finding> {
    let expected = match node.cert_name.as_str() {
        "" => &node.host_name,
        name if name.starts_with(HASH_PREFIX) => &node.host_name,
        name => name,
    };
    let destination = Destination {
        address,
        secured_host: Some(expected.to_owned()),
    };
    let begin = Instant::now();
    let (stream, shown) = match exchanger.connect(&destination).await {
        Ok((stream, Some(shown))) => (stream, shown),
        Ok((_, None)) => return Vec::new(),
        Err(judgement) => return vec![judgement.of("relay-certificate", shown_as, None)],
    };
    let took = Some(begin.elapsed());
    let judgement = judge_certificate(node, &shown, expected);
    let mut findings = vec![judgement.of("relay-certificate", shown_as, took)];
    let begin = Instant::now();
    let judgement = match exchange(stream, upgrade_request(&node.host_name)).await {
        Ok(UpgradeAnswer::Upgraded(_)) => Ok(Judgement::ok("it upgrades to DERP")),
        Ok(UpgradeAnswer::Refused(answer)) => Err(Judgement::failed(format!(
            "/derp answers {} and does not upgrade the connection: is another server or a proxy there? Clients reach a relay directly",
            answer.status
        ))),
        Err(judgement) => Err(judgement),
    };
    let took = judgement.is_ok().then(|| begin.elapsed());
    let judgement = judgement.unwrap_or_else(|failure| failure);
    findings.push(judgement.of("relay-upgrade", shown_as, took));
    findings
}

fn judge_certificate(node: &DerpNode, shown: &ShownChain, expected: &str) -> Judgement {
    let now = SystemClock.now();
    let Some(hash) = node.cert_name.strip_prefix(HASH_PREFIX) else {
        if node.insecure_for_tests {
            let text = "the map tells clients to take any certificate: that is for tests";
            return Judgement::warning(text);
        }
        return certificate::judge_chain(shown, expected, now);
    };
    let own = shown.certificates.first();
    let actual = own.map(|own| hex::encode(Sha256::digest(own)));
    if actual.as_deref() != Some(hash) {
        let text = "the relay shows another certificate than the map names by its hash: give the gateways the map of this relay, or let the \
                    name lead to it";
        return Judgement::failed(text);
    }
    certificate::judge_pinned(shown, now)
}

fn upgrade_request(host: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = "/derp".parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = host.parse() {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::UPGRADE, HeaderValue::from_static("DERP"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    request
}
