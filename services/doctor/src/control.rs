//! What clients ask the server itself.

use std::net::SocketAddr;

use bowline_clock::{Clock as _, SystemClock};
use bowline_control_wire::{DerpMap, KeyResponse};
use bowline_keys::MachinePublic;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Empty;
use tokio::time::Instant;

use crate::{
    certificate, clock,
    exchange::{Answer, Destination, Exchanger, check_tcp},
    finding::{Finding, Judgement},
    place::ServerPlace,
    upgrade,
};

/// The capability version of a current client.
pub(crate) const VERSION: u16 = 130;

/// Checks one address of the server, and returns the relays that it tells of, where it does.
pub(crate) async fn examine_address(
    exchanger: &Exchanger,
    place: &ServerPlace,
    address: SocketAddr,
    findings: &mut Vec<Finding>,
) -> Option<DerpMap> {
    let shown_as = address.to_string();
    let (tcp, is_open) = check_tcp(address).await;
    findings.push(tcp);
    if !is_open {
        return None;
    }
    let destination = Destination {
        address,
        secured_host: place.is_secured.then(|| place.host.clone()),
    };
    let speaks = check_certificate(exchanger, place, &destination, findings).await;
    if !speaks {
        return None;
    }
    let asked = format!("/key?v={VERSION}");
    let key = match exchanger.ask(&destination, get(place, &asked)).await {
        Ok(answer) => {
            let agrees = clock::judge_date(&answer.headers, answer.halfway);
            findings.push(agrees.of("clock", &*shown_as, None));
            let (judgement, key) = judge_key(&answer);
            findings.push(judgement.of("control-key", &*shown_as, Some(answer.took)));
            key
        }
        Err(judgement) => {
            findings.push(judgement.of("control-key", &*shown_as, None));
            None
        }
    };
    if let Some(key) = key {
        let finding = upgrade::check_upgrade(exchanger, place, &destination, key).await;
        findings.push(finding);
    }
    let answer = exchanger
        .ask(&destination, get(place, "/derpmap/default"))
        .await;
    let (judgement, relays) = match &answer {
        Ok(answer) => judge_relay_map(answer),
        Err(judgement) => (judgement.clone(), None),
    };
    let took = answer.ok().map(|answer| answer.took);
    findings.push(judgement.of("relay-map", shown_as, took));
    relays
}

/// Checks the server's certificate; says whether anything can be asked behind it.
async fn check_certificate(
    exchanger: &Exchanger,
    place: &ServerPlace,
    destination: &Destination,
    findings: &mut Vec<Finding>,
) -> bool {
    let shown_as = destination.address.to_string();
    let begin = Instant::now();
    let connected = exchanger.connect(destination).await;
    let took = begin.elapsed();
    let (judgement, took, speaks) = match connected {
        Ok((_, Some(shown))) => {
            let judgement = certificate::judge_chain(&shown, &place.host, SystemClock.now());
            (judgement, Some(took), true)
        }
        Ok((_, None)) => {
            let text = "the URL is http: clients take that for tests only, and whoever is on the way can be the server";
            (Judgement::warning(text), None, true)
        }
        Err(judgement) => (judgement, None, false),
    };
    findings.push(judgement.of("certificate", shown_as, took));
    speaks
}

/// Returns a request for a page of the server.
fn get(place: &ServerPlace, path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.parse().unwrap_or_default();
    insert_host(request.headers_mut(), place);
    request
}

pub(crate) fn insert_host(headers: &mut HeaderMap, place: &ServerPlace) {
    if let Ok(host) = place.authority.parse() {
        headers.insert(header::HOST, host);
    }
}

/// Says whether an answer has the server's key, and returns it.
fn judge_key(answer: &Answer) -> (Judgement, Option<MachinePublic>) {
    if answer.status != StatusCode::OK {
        let text = describe_status("/key", answer);
        return (Judgement::failed(text), None);
    }
    match serde_json::from_slice::<KeyResponse>(&answer.body) {
        Ok(keys) if keys.public_key == MachinePublic::ZERO => {
            let text = "the server offers current clients no Noise key: is `nacl_below` too high?";
            (Judgement::failed(text), None)
        }
        Ok(keys) => {
            let text = format!("mkey:{}", keys.public_key.to_hex());
            (Judgement::ok(text), Some(keys.public_key))
        }
        Err(_) => {
            let text = "what answers at /key is no Bowline: does the name lead to another server, or the proxy to another one behind it?";
            (Judgement::failed(text), None)
        }
    }
}

/// Returns the words for a status that was not expected.
pub(crate) fn describe_status(path: &str, answer: &Answer) -> String {
    let status = answer.status;
    let advice = match status.as_u16() {
        300..=399 => {
            let to = answer.headers.get(header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
            return format!(
                "{path} answers {status} and leads to {to}: clients do not go there, so let public_url be where the server is"
            );
        }
        404 | 405 => "something else answers: the proxy has to pass all paths of the host on",
        401 | 403 => {
            "the proxy turns strangers away: clients do not log in there, so let all requests pass"
        }
        429 => "the server has had too many requests from this address: try it again in a minute",
        502..=504 => {
            "the proxy can not reach the server: is that started, and does the proxy have its address?"
        }
        _ => "look at the log of the proxy, and of the server",
    };
    format!("{path} answers {status}: {advice}")
}

/// Says whether an answer is a map of relays, and returns it.
fn judge_relay_map(answer: &Answer) -> (Judgement, Option<DerpMap>) {
    if answer.status == StatusCode::NOT_FOUND {
        let text = "the server tells of no relays here: it is of a release before this check, and relays were not looked at";
        return (Judgement::warning(text), None);
    }
    if answer.status != StatusCode::OK {
        let text = describe_status("/derpmap/default", answer);
        return (Judgement::failed(text), None);
    }
    match serde_json::from_slice::<DerpMap>(&answer.body) {
        Ok(map) if map.regions.is_empty() => {
            let text = "there is no relay: clients that can not reach each other directly have no way, unless the policy of their tailnet \
                        brings relays. Look at [relay], derp_map_file and derp_map_url";
            (Judgement::warning(text), None)
        }
        Ok(map) => {
            let count = map.regions.len();
            let regions = if count == 1 { "region" } else { "regions" };
            (Judgement::ok(format!("{count} {regions}")), Some(map))
        }
        Err(error) => {
            let text = format!(
                "the map of relays can not be read ({error}): does something else answer for the server?"
            );
            (Judgement::failed(text), None)
        }
    }
}
