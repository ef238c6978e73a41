//! Noise: `/ts2021` upgrades a connection to HTTP/2 inside Noise records (protocol section 4).

mod challenge;
mod one_task;

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{FromRequestParts as _, Path, Query, Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header},
    response::IntoResponse,
    routing::{get, patch, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_control_keys::ControlTransport;
use bowline_control_noise::{
    Accepted, EARLY_PAYLOAD_SINCE, HandshakeError, NoiseStream, Responder, early_payload,
    error_frame,
};
use bowline_control_wire::{MapRequest, RegisterRequest, parse_request};
use challenge::Challenge;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use one_task::{ConnectionStreams, Served, ServedConnection};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::{LONGEST_LOCK_BODY, ReceivedBody, read_body, read_long_body, websocket};
use crate::{
    control_keys::count_use,
    gateway::Gateway,
    listener::{
        CLOSE_TIME, CONNECTION_WINDOW, Connection, LONGEST_HEADERS, MOST_STREAMS, SEND_BUFFER,
        STREAM_WINDOW, answer_request, contain_panic,
    },
    machine::{
        Machine, RequestFailure, attributes, map, register, ssh,
        tailnet_lock::{LOCK_CALLS, answer_lock_call},
    },
    session::FrameSealer,
};

const PROTOCOL: &str = "tailscale-control-protocol";
const HANDSHAKE: &str = "x-tailscale-handshake";
/// The longest WebSocket message: many records' worth.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// The handshake as browsers send it.
#[derive(Debug, Deserialize)]
pub struct HandshakeQuery {
    #[serde(rename = "X-Tailscale-Handshake")]
    handshake: Option<String>,
}

/// Answers `POST /ts2021`: upgrades the connection.
pub async fn upgrade_to_noise(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Connection>,
    Extension(routes): Extension<MachineRoutes>,
    mut request: Request,
) -> Result<Response<Body>, RequestFailure> {
    let initiation = read_initiation(request.headers())?;
    let result = accept(&gateway, &initiation);
    let upgrading = hyper::upgrade::on(&mut request);
    let tasks = gateway.tasks.clone();
    let conversation = async move {
        match upgrading.await {
            Ok(upgraded) => {
                let stream = TokioIo::new(upgraded);
                serve_noise(routes, connection, stream, result).await;
            }
            Err(error) => tracing::debug!(%error, "the upgrade failed"),
        }
    };
    tasks.spawn_background("noise", contain_panic(conversation));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(response)
}

/// Answers `GET /ts2021`: upgrades a browser's connection.
pub async fn upgrade_websocket(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Connection>,
    Extension(routes): Extension<MachineRoutes>,
    Query(query): Query<HandshakeQuery>,
    request: Request,
) -> Result<Response<Body>, RequestFailure> {
    let (mut parts, _) = request.into_parts();
    let websocket = WebSocketUpgrade::from_request_parts(&mut parts, &gateway)
        .await
        .map_err(|error| RequestFailure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let text = query.handshake.ok_or_else(no_handshake)?;
    let initiation = decode_base64(&text)?;
    let result = accept(&gateway, &initiation);
    Ok(websocket
        .protocols([PROTOCOL])
        .max_frame_size(LONGEST_MESSAGE)
        .max_message_size(LONGEST_MESSAGE)
        .on_upgrade(move |socket| {
            serve_noise(
                routes,
                connection,
                websocket::into_byte_stream(socket),
                result,
            )
        }))
}

/// Accepts an initiation made for any of the control keys.
fn accept(gateway: &Gateway, initiation: &[u8]) -> Result<Accepted, HandshakeError> {
    let keys = gateway.keys.current();
    let accepted = Responder::default().accept(initiation, keys.noise.iter())?;
    if let Some((state, _)) = keys.noise.with_states().nth(accepted.control) {
        count_use(ControlTransport::Noise, state);
    }
    Ok(accepted)
}

fn read_initiation(headers: &HeaderMap) -> Result<Vec<u8>, RequestFailure> {
    let upgrade = headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(PROTOCOL.as_bytes())) {
        let text = "this address speaks only to Tailscale clients: the Upgrade header is missing";
        return Err(RequestFailure::new(StatusCode::BAD_REQUEST, text));
    }
    let text = headers.get(HANDSHAKE).and_then(|value| value.to_str().ok());
    decode_base64(text.ok_or_else(no_handshake)?)
}

fn no_handshake() -> RequestFailure {
    RequestFailure::new(
        StatusCode::BAD_REQUEST,
        "the X-Tailscale-Handshake header is missing",
    )
}

fn decode_base64(text: &str) -> Result<Vec<u8>, RequestFailure> {
    let invalid = |_| RequestFailure::new(StatusCode::BAD_REQUEST, "the handshake is not base64");
    let bytes = STANDARD.decode(text).map_err(invalid)?;
    match bytes.len() {
        101 => Ok(bytes),
        length => {
            let text = format!("a handshake has 101 bytes, not {length}");
            Err(RequestFailure::new(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// Finishes the handshake and serves HTTP/2 inside it.
async fn serve_noise<S>(
    routes: MachineRoutes,
    connection: Connection,
    stream: S,
    result: Result<Accepted, HandshakeError>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = connection.upgraded();
    if let Some((stream, machine, challenge)) = begin_noise(connection, stream, result).await {
        serve_requests(routes, machine, challenge, stream).await;
    }
}

/// Answers the handshake, and sends the challenge; `None` when the handshake is refused, or the connection ends.
async fn begin_noise<S>(
    connection: Connection,
    mut stream: S,
    result: Result<Accepted, HandshakeError>,
) -> Option<(NoiseStream<S>, Machine, Challenge)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let accepted = match result {
        Ok(accepted) => accepted,
        Err(error) => {
            metrics::counter!("bowline_gateway_handshake_failures_total").increment(1);
            tracing::debug!(source = %connection.source(), %error, "handshake refused");
            // The client shows the text. If it does not arrive, there is nothing else to do.
            drop(stream.write_all(&error_frame(&error.to_string())).await);
            drop(stream.shutdown().await);
            return None;
        }
    };
    stream.write_all(&accepted.response).await.ok()?;
    let mut stream = NoiseStream::new(stream, &accepted.keys);
    let challenge = if accepted.version >= EARLY_PAYLOAD_SINCE {
        Challenge::new()
    } else {
        Challenge::none()
    };
    if let Some(public) = challenge.public() {
        stream.write_all(&early_payload(public)).await.ok()?;
    }
    let machine = Machine {
        key: accepted.machine,
        connection,
        proven: Vec::new(),
    };
    Some((stream, machine, challenge))
}

/// Serves HTTP/2 until the connection has to end.
async fn serve_requests<S>(
    routes: MachineRoutes,
    machine: Machine,
    challenge: Challenge,
    stream: NoiseStream<S>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, key) = (machine.connection.clone(), machine.key);
    let asked = CancellationToken::new();
    let (heard, asking) = (asked.clone(), connection.clone());
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        heard.cancel();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(machine.clone());
        request.extensions_mut().insert(challenge.clone());
        answer_request(&asking, routes.0.clone(), request)
    });
    let streams = ConnectionStreams::default();
    let serving = hyper::server::conn::http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LONGEST_HEADERS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    let serving = pin!(serving);
    let mut served = ServedConnection::new(serving, streams);
    let end = pin!(wait_for_end(&connection, &asked));
    match served.serve_until(end).await {
        Served::Connection(Ok(())) => return,
        Served::Connection(Err(error)) => {
            return tracing::debug!(machine = ?key, %error, "connection ended");
        }
        Served::Event(ConnectionEvent::Overstayed) => {
            return tracing::debug!(machine = ?key, "connection overstayed");
        }
        Served::Event(ConnectionEvent::DeadLink) => {
            return tracing::info!(machine = ?key, "a link is dead");
        }
        Served::Event(ConnectionEvent::DrainTurn) => {}
    }
    served.connection().graceful_shutdown();
    connection.announce_closing();
    let patience = pin!(tokio::time::sleep(CLOSE_TIME));
    drop(served.serve_until(patience).await);
}

/// Why a connection has to end.
enum ConnectionEvent {
    /// No registered node uses it.
    Overstayed,
    /// Its client is gone.
    DeadLink,
    /// It is its turn in a drain.
    DrainTurn,
}

async fn wait_for_end(connection: &Connection, asked: &CancellationToken) -> ConnectionEvent {
    tokio::select! {
        () = connection.wait_until_overstayed(asked) => ConnectionEvent::Overstayed,
        () = connection.link().wait_until_dead() => ConnectionEvent::DeadLink,
        () = connection.wait_for_drain_turn() => ConnectionEvent::DrainTurn,
    }
}

/// The addresses inside Noise, made once for all connections: each adds to its requests which machine asks.
#[derive(Clone)]
pub struct MachineRoutes(Router);

impl MachineRoutes {
    /// Returns the addresses of a gateway.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(machine_routes(gateway))
    }
}

/// The addresses inside Noise (protocol section 4.7).
fn machine_routes(gateway: Arc<Gateway>) -> Router {
    lock_routes()
        .route("/machine/register", post(post_register))
        .route("/machine/map", post(post_map))
        .route("/machine/alive/{number}", get(get_alive))
        .route("/machine/set-device-attr", patch(patch_attributes))
        .route(
            "/machine/update-health",
            post(async || StatusCode::NO_CONTENT),
        )
        .route(
            "/machine/ssh/action/{source}/to/{destination}",
            get(get_ssh_action),
        )
        .fallback(async || (StatusCode::NOT_FOUND, "this server does not offer that"))
        .method_not_allowed_fallback(async || {
            let text = "this address does not take that method";
            (StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .with_state(gateway)
}

/// The addresses of tailnet lock: GET with a body.
fn lock_routes() -> Router<Arc<Gateway>> {
    let mut routes = Router::new();
    for (path, call) in LOCK_CALLS {
        let answer = move |State(gateway): State<Arc<Gateway>>,
                           Extension(machine): Extension<Machine>,
                           body: Body| async move {
            let received = read_long_body(&machine.connection, body, LONGEST_LOCK_BODY).await?;
            answer_lock_call(&gateway, &machine, call, &received.bytes)
                .await
                .map(Json)
        };
        routes = routes.route(&format!("/machine/tka/{path}"), get(answer));
    }
    routes
}

async fn post_register(
    State(gateway): State<Arc<Gateway>>,
    Extension(mut machine): Extension<Machine>,
    Extension(challenge): Extension<Challenge>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, RequestFailure> {
    machine.proven = challenge.proven_keys(&headers)?;
    let ReceivedBody { bytes, share } = read_body(&machine.connection, body).await?;
    let request: RegisterRequest = parse_request(&bytes)?;
    drop(bytes);
    Ok(Json(
        register::answer_registration(&gateway, &machine, request, share).await?,
    ))
}

/// Changes attributes that a node sets for itself.
async fn patch_attributes(
    State(gateway): State<Arc<Gateway>>,
    Extension(machine): Extension<Machine>,
    body: Body,
) -> Result<Json<Value>, RequestFailure> {
    let received = read_body(&machine.connection, body).await?;
    attributes::change_own_attributes(&gateway, &machine, &received.bytes).await?;
    Ok(Json(json!({})))
}

/// Takes a sign of life that was asked for.
async fn get_alive(Extension(machine): Extension<Machine>) -> StatusCode {
    machine.connection.link().note_answer();
    tracing::debug!(connection = machine.connection.number(), "sign of life");
    StatusCode::NO_CONTENT
}

/// Answers a node that somebody connects to over SSH.
async fn get_ssh_action(
    State(gateway): State<Arc<Gateway>>,
    Extension(machine): Extension<Machine>,
    Path(ends): Path<ssh::SshEnds>,
    Query(query): Query<ssh::SshQuery>,
) -> Result<impl IntoResponse, RequestFailure> {
    Ok(Json(
        ssh::answer_ssh_check(&gateway, &machine, ends, query).await?,
    ))
}

async fn post_map(
    State(gateway): State<Arc<Gateway>>,
    Extension(machine): Extension<Machine>,
    uri: Uri,
    body: Body,
) -> Result<Body, RequestFailure> {
    if let Some(authority) = uri.authority() {
        machine.connection.link().note_authority(authority.as_str());
    }
    let received = read_body(&machine.connection, body).await?;
    let request: MapRequest = parse_request(&received.bytes)?;
    let answer = map::answer_map_request(&gateway, &machine, request, FrameSealer::NONE).await?;
    Ok(match answer {
        map::MapAnswer::Accepted => Body::empty(),
        map::MapAnswer::Frames(frames) => Body::from_stream(frames.pieces()),
    })
}
