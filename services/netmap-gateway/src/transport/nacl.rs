//! crypto_box: each request is sealed by the machine key (protocol section 3).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, Path, State},
    http::StatusCode,
};
use bowline_clock::random_bytes;
use bowline_control_keys::{ControlKeys, ControlTransport};
use bowline_control_nacl::{open_box, seal_box};
use bowline_control_wire::{FrameError, MapRequest, RegisterRequest, encode_frame, parse_request};
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{ReceivedBody, read_body};
use crate::{
    control_keys::count_use,
    gateway::Gateway,
    listener::{BodyShare, Connection},
    machine::{Machine, RequestFailure, map, register},
    session::FrameSealer,
};

/// The first minor release that reads `RegisterResponse.Error`.
const READS_ERRORS: u32 = 18;

/// Who sealed a request, and for which key.
struct Sealer {
    machine: Machine,
    /// The control keys of the time when it was opened: what answers it, maybe for hours, is sealed with one of them.
    keys: Arc<ControlKeys>,
    /// The control key it was sealed for, by its public half.
    control: [u8; 32],
}

/// Answers `POST /machine/<machine key>`.
pub async fn post_register(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Connection>,
    Path(machine): Path<String>,
    body: Body,
) -> Result<Body, RequestFailure> {
    let received = open_request::<RegisterRequest>(&gateway, connection, &machine, body).await?;
    let (sealer, request, share) = received;
    let version = request
        .hostinfo
        .as_ref()
        .map(|hostinfo| hostinfo.ipn_version.clone());
    let response = register::answer_registration(&gateway, &sealer.machine, request, share).await?;
    if !response.error.is_empty() && !version.as_deref().is_none_or(reads_errors) {
        return Err(RequestFailure::new(
            StatusCode::UNAUTHORIZED,
            response.error,
        ));
    }
    let json = serde_json::to_vec(&response).map_err(|error| {
        RequestFailure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    })?;
    Ok(Body::from(seal_response(&sealer, &json)?))
}

/// Answers `POST /machine/<machine key>/map`.
pub async fn post_map(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Connection>,
    Path(machine): Path<String>,
    body: Body,
) -> Result<Body, RequestFailure> {
    let received = open_request::<MapRequest>(&gateway, connection, &machine, body).await?;
    let (sealer, request, _share) = received;
    let machine = sealer.machine.clone();
    let sealing = FrameSealer::with(move |plain| {
        sealed_frame(&sealer, plain).map_err(|_| FrameError::Length(0))
    });
    Ok(
        match map::answer_map_request(&gateway, &machine, request, sealing).await? {
            map::MapAnswer::Accepted => Body::empty(),
            map::MapAnswer::Frames(frames) => Body::from_stream(frames.pieces()),
        },
    )
}

/// Answers `POST /machine/<machine key>/set-dns`: not offered.
pub async fn post_set_dns() -> RequestFailure {
    RequestFailure::new(
        StatusCode::NOT_IMPLEMENTED,
        "this server does not set DNS records",
    )
}

/// Opens a request and reads it.
async fn open_request<T: DeserializeOwned>(
    gateway: &Gateway,
    connection: Connection,
    machine: &str,
    body: Body,
) -> Result<(Sealer, T, BodyShare), RequestFailure> {
    if !connection.is_secured() && !gateway.config.plain_http_boxes {
        let text = "this server takes such requests over https only";
        return Err(RequestFailure::new(StatusCode::FORBIDDEN, text));
    }
    let bad = |text: String| RequestFailure::new(StatusCode::BAD_REQUEST, text);
    let key = MachinePublic::from_hex(machine).map_err(|error| bad(error.to_string()))?;
    let ReceivedBody { bytes, share } = read_body(&connection, body).await?;
    let keys = gateway.keys.current();
    let opened =
        open_box(&bytes, key, keys.legacy.iter()).map_err(|error| bad(error.to_string()))?;
    let mut replays = gateway.replays.lock();
    if !replays.remember(key, opened.nonce, tokio::time::Instant::now().into_std()) {
        metrics::counter!("bowline_gateway_replays_total").increment(1);
        return Err(bad("this very request was sent before".to_owned()));
    }
    drop(replays);
    let control = opened.control.public_bytes();
    let is_it = |(_, key): &(_, &PrivateKey)| key.public_bytes() == control;
    if let Some((state, _)) = keys.legacy.with_states().find(is_it) {
        count_use(ControlTransport::Legacy, state);
    }
    let request = parse_request(&opened.plaintext)?;
    let sealer = Sealer {
        machine: Machine {
            key,
            connection,
            proven: Vec::new(),
        },
        control,
        keys,
    };
    Ok((sealer, request, share))
}

fn seal_response(sealer: &Sealer, plaintext: &[u8]) -> Result<Vec<u8>, RequestFailure> {
    let is_it = |key: &&PrivateKey| key.public_bytes() == sealer.control;
    let control = sealer.keys.legacy.iter().find(is_it).ok_or_else(|| {
        RequestFailure::new(StatusCode::INTERNAL_SERVER_ERROR, "the control key is gone")
    })?;
    Ok(seal_box(
        plaintext,
        control,
        sealer.machine.key,
        random_bytes(),
    ))
}

/// Returns a frame with its payload sealed.
fn sealed_frame(sealer: &Sealer, plain: &Bytes) -> Result<Bytes, RequestFailure> {
    // The first four bytes are the payload's length.
    let payload = plain.get(4..).unwrap_or(&[]);
    let too_long = |error: FrameError| {
        RequestFailure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    };
    encode_frame(&[&seal_response(sealer, payload)?]).map_err(too_long)
}

/// Says whether a client of this version reads the error field; before 1.18 it takes any 200 for success.
fn reads_errors(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(minor))) => minor >= READS_ERRORS,
        (Some(Ok(major)), _) => major > 1,
        _ => true,
    }
}
