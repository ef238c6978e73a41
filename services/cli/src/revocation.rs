//! How the end of a key or of a user has reached the gateways, as it is told.

use bowline_proto::key_registry::v1::{
    AwaitGatewaysRequest, Revocation, node_service_client::NodeServiceClient,
};
use serde_json::{Value, json};

use crate::{connection::ConnectionArgs, failure::Failure, output::Printer};

/// Waits until the gateways have applied a revision of identity's log, at most a second, and says how far they are.
pub async fn of_identity(
    connection: &ConnectionArgs,
    tailnet_id: u64,
    identity_revision: u64,
) -> Result<Option<Revocation>, Failure> {
    let request = AwaitGatewaysRequest {
        tailnet_id,
        identity_revision,
    };
    let mut client = NodeServiceClient::new(connection.connect_to_registry()?);
    let answer = client.await_gateways(request).await?;
    Ok(answer.into_inner().revocation)
}

/// Says what has ended, and each gateway's state: `what` is extended by `revision` and `gateways`.
pub fn print_with_receipt(
    printer: &Printer,
    mut what: Value,
    mut text: String,
    revocation: Option<Revocation>,
) {
    // Without a receipt there is no gateway to name.
    let revocation = revocation.unwrap_or_default();
    let mut gateways = Vec::new();
    for progress in &revocation.gateways {
        let state = progress.state().as_str_name();
        let state = state.trim_start_matches("GATEWAY_STATE_").to_lowercase();
        text.push_str(&format!("\ngateway {}: {state}", progress.gateway));
        gateways.push(json!({ "gateway": progress.gateway, "state": state }));
    }
    what["revision"] = json!(revocation.revision);
    what["gateways"] = json!(gateways);
    printer.print_result(&what, &text);
}
