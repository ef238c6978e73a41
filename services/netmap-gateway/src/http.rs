//! The public addresses, on one screen.

mod key;
mod verify;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use bowline_control_wire::DerpMap;

use crate::{
    gateway::Gateway,
    transport::{
        nacl,
        noise::{self, MachineRoutes},
    },
};

/// Every address a client, a browser or a relay can reach without Noise.
pub fn public_routes(gateway: Arc<Gateway>) -> Router {
    let machine_routes = MachineRoutes::new(Arc::clone(&gateway));
    Router::new()
        .route("/key", get(key::get_key))
        .route(
            "/ts2021",
            post(noise::upgrade_to_noise).get(noise::upgrade_websocket),
        )
        .route("/machine/{machine}", post(nacl::post_register))
        .route("/machine/{machine}/map", post(nacl::post_map))
        .route("/machine/{machine}/set-dns", post(nacl::post_set_dns))
        .route("/verify/{token}", post(verify::post_verify))
        .route("/derpmap/default", get(get_relay_map))
        .route("/generate_204", get(generate_204))
        .route("/health", get(async || "ok\n"))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here\n"))
        .method_not_allowed_fallback(async || {
            let text = "this address does not take that method\n";
            (StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .layer(Extension(machine_routes))
        .with_state(gateway)
}

/// Answers which relays clients are told of, where their policy names no others: programs that measure the way there ask for
/// that before they join.
async fn get_relay_map(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    // Programs in a browser ask from another origin.
    let anyone = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (anyone, Json(DerpMap::clone(&gateway.hub.relays())))
}

/// Answers captive-portal probes (protocol section 4.8).
async fn generate_204(headers: HeaderMap) -> impl IntoResponse {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    let challenge = headers
        .get("x-tailscale-challenge")
        .and_then(|value| value.to_str().ok());
    let answer = challenge
        .filter(|challenge| challenge.len() <= 64 && challenge.chars().all(allowed))
        .and_then(|challenge| HeaderValue::try_from(format!("response {challenge}")).ok())
        .map(|answer| [(HeaderName::from_static("x-tailscale-response"), answer)]);
    (
        StatusCode::NO_CONTENT,
        answer.into_iter().flatten().collect::<HeaderMap>(),
    )
}
