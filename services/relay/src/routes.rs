//! The HTTP side: the upgrade to DERP, and the probes clients measure by.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bowline_service_kit::connection_slots::ConnectionSlot;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONNECTION, HeaderName, RETRY_AFTER, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::quiet::QuietSwitch;
use crate::{Relay, RelaySlot, ServedNode, meters, session};

const DERP: HeaderValue = HeaderValue::from_static("DERP");
const DERP_VERSION: HeaderName = HeaderName::from_static("derp-version");
const DERP_PUBLIC_KEY: HeaderName = HeaderName::from_static("derp-public-key");
const DERP_FAST_START: HeaderName = HeaderName::from_static("derp-fast-start");
const CHALLENGE: HeaderName = HeaderName::from_static("x-tailscale-challenge");
const CHALLENGE_ANSWER: HeaderName = HeaderName::from_static("x-tailscale-response");

/// Longest captive-portal challenge that is answered, in bytes.
const MAX_CHALLENGE: usize = 64;

pub(crate) fn router(relay: Relay) -> Router {
    Router::new()
        .route("/derp", any(upgrade_to_derp))
        .route("/derp/probe", get(answer_probe))
        .route("/derp/latency-check", get(answer_probe))
        .route("/generate_204", get(answer_portal_check))
        .with_state(relay)
}

async fn upgrade_to_derp(
    State(relay): State<Relay>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    if !asks_for_derp(&request) {
        let text = "this is a DERP relay: connect with an HTTP/1.1 upgrade to DERP\n";
        return (StatusCode::UPGRADE_REQUIRED, [(UPGRADE, DERP)], text).into_response();
    }
    if relay.state().draining.is_cancelled() {
        return refuse_connection(&relay, "draining", "the relay is restarting\n");
    }
    let held = request.extensions().get::<RelaySlot>().cloned();
    let Some((place, slot)) = take_slot(&relay, held, source).await else {
        let text = "the relay has no room for another connection\n";
        return refuse_connection(&relay, "full", text);
    };
    let fast_start = request
        .headers()
        .get(DERP_FAST_START)
        .is_some_and(|value| value == "1");
    let quiet = request
        .extensions()
        .get::<QuietSwitch>()
        .filter(|_| fast_start)
        .cloned();
    if let Some(quiet) = &quiet {
        quiet.set(true);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let public_key = relay.public_key().to_hex();

    let tasks = relay.state().tasks.clone();
    tasks.spawn(async move {
        // Of a connection that another listener has accepted.
        let _slot = slot;
        let stream = match timeout(relay.state().limits.handshake, upgrade).await {
            Ok(Ok(stream)) => TokioIo::new(stream),
            Ok(Err(error)) => return debug!(%source, %error, "upgrade to DERP failed"),
            Err(_) => return debug!(%source, "upgrade to DERP took too long"),
        };
        if let Some(quiet) = quiet {
            quiet.set(false);
        }
        let source = source.ip().to_canonical();
        tokio::select! {
            () = session::run(relay.state(), stream, source, &place) => {}
            () = place.wait_for_displacement() => debug!(%source, "connection made room for another"),
        }
    });

    let headers = [
        (UPGRADE, DERP),
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (DERP_VERSION, HeaderValue::from_static("2")),
    ];
    (
        StatusCode::SWITCHING_PROTOCOLS,
        headers,
        [(DERP_PUBLIC_KEY, public_key)],
    )
        .into_response()
}

/// Returns the place the connection already has, or takes a slot for it.
async fn take_slot(
    relay: &Relay,
    held: Option<RelaySlot>,
    source: SocketAddr,
) -> Option<(RelaySlot, Option<ConnectionSlot<ServedNode>>)> {
    if let Some(place) = held {
        return Some((place, None));
    }
    let slot = relay.state().slots.take_slot(Some(source.ip())).await?;
    Some((slot.handle(), Some(slot)))
}

fn asks_for_derp(request: &Request) -> bool {
    let lists = |name, word: &str| {
        request
            .headers()
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .split(',')
                    .any(|token| token.trim().eq_ignore_ascii_case(word))
            })
    };
    (request.method() == Method::GET || request.method() == Method::POST)
        && request.version() == Version::HTTP_11
        && lists(UPGRADE, "DERP")
        && lists(CONNECTION, "upgrade")
}

fn refuse_connection(relay: &Relay, reason: &'static str, text: &'static str) -> Response {
    meters::count_refusal(reason);
    let random = u64::from_be_bytes(bowline_clock::random_bytes());
    let mut retry = relay.state().retry.lock();
    let seconds = retry.note_refusal(Instant::now().into_std(), random);
    drop(retry);
    let retry_after = [(RETRY_AFTER, HeaderValue::from(seconds))];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after, text).into_response()
}

async fn answer_probe() -> impl IntoResponse {
    [(ACCESS_CONTROL_ALLOW_ORIGIN, "*")]
}

/// Tells a client that no captive portal answers in the relay's place: a challenge is repeated.
async fn answer_portal_check(headers: HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:".contains(byte);
    let may_be_repeated = |challenge: &&[u8]| {
        (1..=MAX_CHALLENGE).contains(&challenge.len()) && challenge.iter().all(allowed)
    };
    let challenge = headers.get(CHALLENGE).map(HeaderValue::as_bytes);
    if let Some(challenge) = challenge.filter(may_be_repeated) {
        let answer = [b"response ", challenge].concat();
        if let Ok(answer) = HeaderValue::from_bytes(&answer) {
            response.headers_mut().insert(CHALLENGE_ANSWER, answer);
        }
    }
    response
}
