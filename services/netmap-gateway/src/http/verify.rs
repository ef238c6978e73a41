//! `POST /verify/<token>`: tells outside relays whom they may serve (protocol section 9.5).

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Extension, Path, State},
    http::StatusCode,
};
use bowline_keys::NodePublic;
use bowline_proto::key_registry::v1::{
    ResolveNodeRequest, key_registry_service_client::KeyRegistryServiceClient,
};
use serde::{Deserialize, Serialize};

use crate::{gateway::Gateway, listener::Connection, machine::Failure, transport::read_body};

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

/// Answers whether a node's key may be relayed for.
pub(super) async fn post_verify(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Connection>,
    Path(token): Path<String>,
    body: Body,
) -> Result<Json<VerifyResponse>, Failure> {
    let wanted = gateway.config.verify_token.as_deref().unwrap_or_default();
    if wanted.is_empty() || !equal(wanted.as_bytes(), token.as_bytes()) {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            "there is nothing here\n",
        ));
    }
    let request: VerifyRequest = serde_json::from_slice(&read_body(&connection, body).await?)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut client = KeyRegistryServiceClient::new(gateway.backends.registry.clone());
    let request = ResolveNodeRequest {
        node_key: request.node_public.as_bytes().to_vec(),
    };
    let allow = match client.resolve_node(request).await {
        Ok(answer) => answer
            .into_inner()
            .node
            .is_some_and(|node| node.approved && !node.expired),
        Err(status) if status.code() == tonic::Code::NotFound => false,
        Err(status) => return Err(status.into()),
    };
    Ok(Json(VerifyResponse { allow }))
}

/// Compares secrets in a time that does not depend on where they differ.
fn equal(left: &[u8], right: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    left.ct_eq(right).into()
}
