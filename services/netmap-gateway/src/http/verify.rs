//! `POST /verify/<token>`: tells outside relays whom they may serve (protocol section 9.5).

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::StatusCode,
};
use bowline_keys::{MachinePublic, NodePublic};
use bowline_proto::key_registry::v1::Node;
use bowline_service_kit::relay_permits::RelayPermit;
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize};

use crate::{gateway::Gateway, listener::Connection, machine::RequestFailure};

/// The longest question: a key and an address.
const LONGEST_BODY: usize = 4 << 10;
/// How long a relay may take to send it.
const BODY_TIME: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VerifyRequest {
    node_public: NodePublic,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VerifyResponse {
    allow: bool,
}

/// Answers whether a node's key may be relayed for: it is registered, approved and not expired, and its user is not
/// suspended.
pub(super) async fn post_verify(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Connection>,
    Path(token): Path<String>,
    body: Body,
) -> Result<Json<VerifyResponse>, RequestFailure> {
    let wanted = gateway.config.verify_token.as_ref();
    let wanted = wanted.map_or("", |token| token.expose());
    if wanted.is_empty() || !secrets_are_equal(wanted.as_bytes(), token.as_bytes()) {
        return Err(RequestFailure::new(
            StatusCode::NOT_FOUND,
            "there is nothing here\n",
        ));
    }
    // A relay asks for each of its clients.
    connection.uncount_requests();
    let request: VerifyRequest = serde_json::from_slice(&read_body(body).await?)
        .map_err(|error| RequestFailure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let key = request.node_public.as_bytes();
    let permits = &gateway.relay_permits;
    let permit = permits.ask_permit(key, |node| is_shown_without_key(&gateway, node));
    let allow = match permit.await {
        RelayPermit::Granted(_) => true,
        RelayPermit::Refused => false,
        RelayPermit::Unknown(status) => return Err(status.into()),
    };
    Ok(Json(VerifyResponse { allow }))
}

/// Says whether this gateway shows a node, but offers its key to nobody.
fn is_shown_without_key(gateway: &Gateway, node: &Node) -> bool {
    let keys = (
        NodePublic::try_from(&*node.node_key),
        MachinePublic::try_from(&*node.machine_key),
    );
    let (Ok(key), Ok(machine)) = keys else {
        return false;
    };
    let Ok(Some(located)) = gateway.hub.locate_here(key, machine) else {
        return false;
    };
    let view = located.tailnet.history.view();
    view.nodes
        .get(&located.node)
        .is_some_and(|shown| !shown.offered)
}

/// Reads a question, bounded in size and time.
async fn read_body(body: Body) -> Result<Bytes, RequestFailure> {
    let read = tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, LONGEST_BODY));
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error);
            Err(
                if cause.is_some_and(|cause| cause.is::<LengthLimitError>()) {
                    let text = "the body is longer than 4 KiB\n";
                    RequestFailure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
                } else {
                    RequestFailure::new(StatusCode::BAD_REQUEST, "the body did not arrive whole\n")
                },
            )
        }
        Err(_) => {
            let text = "the body did not arrive within 15 seconds\n";
            Err(RequestFailure::new(StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}

/// Compares secrets in a time that does not depend on where they differ.
fn secrets_are_equal(left: &[u8], right: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    left.ct_eq(right).into()
}
