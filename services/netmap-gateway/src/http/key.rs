//! `GET /key`: the server's public keys (protocol section 2).

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bowline_control_wire::{CapabilityVersion, KeyAnswer, KeySettings, key_answer};
use serde::Deserialize;

use crate::gateway::Gateway;

/// What a client says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct KeyQuery {
    v: Option<String>,
}

/// Answers with the keys in the form the client reads.
pub(super) async fn get_key(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<KeyQuery>,
) -> Response {
    let keys = gateway.keys.current();
    let settings = KeySettings {
        noise: keys.noise.public(),
        legacy: keys.legacy.public(),
        nacl_below: CapabilityVersion(gateway.config.nacl_below),
    };
    // Clients that run in a browser fetch the keys from another origin.
    let anyone = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    match key_answer(query.v.as_deref(), &settings) {
        KeyAnswer::Text(text) => (anyone, text).into_response(),
        KeyAnswer::Json(keys) => (anyone, Json(keys)).into_response(),
        KeyAnswer::BadVersion => (
            StatusCode::BAD_REQUEST,
            "v is the client's capability version, a number",
        )
            .into_response(),
    }
}
