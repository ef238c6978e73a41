//! Registration: passes on what the client proved and sent, and tells it the registry's verdict (protocol
//! section 5). No verdict is made here.

mod response;

use axum::http::StatusCode;
use bowline_control_wire::{Base64Bytes, RegisterRequest, RegisterResponse, plain_text};
use bowline_ids::LoginId;
use bowline_keys::NodePublic;
use bowline_netmap::{owner_id, user_profile};
use bowline_proto::{
    key_registry::v1::{
        self as registry, Registered, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
    time::to_timestamp,
};
use bowline_service_kit::trace;
use prost::Message as _;
use prost_types::Timestamp;
use tonic::{Code, Status};

use response::{RegisteredNode, accepted_response, empty_response};

use super::{
    Machine, RequestFailure,
    host::{self, CheckedHostinfo},
    login_wait::wait_for_login,
};
use crate::{
    gateway::Gateway,
    listener::{BodyShare, Holder},
    turns::RequestOrigin,
};

/// The most bytes of a registration that are kept while a person decides; a client that sent more is asked again.
const MOST_KEPT: usize = 8 * 1024;

/// Answers a registration. `share` is what its body holds of all bodies.
pub async fn answer_registration(
    gateway: &Gateway,
    machine: &Machine,
    request: RegisterRequest,
    share: BodyShare,
) -> Result<RegisterResponse, RequestFailure> {
    machine.refuse_in_drain()?;
    if request.node_key.is_zero() {
        return Err(RequestFailure::new(
            StatusCode::BAD_REQUEST,
            "the request has no node key",
        ));
    }
    let followup = login_id(&request.followup);
    let node_key = request.node_key;
    let passed_on = registry_request(machine, request, followup)?;
    let kept = followup.and_then(|_| encode_kept_request(&passed_on));
    let outcome = ask_registry(gateway, machine, node_key, passed_on).await?;
    drop(share);
    let (Some(login), RegistrationVerdict::Pending(needed)) = (followup, &outcome) else {
        return Ok(response_for(gateway, outcome));
    };
    if login.to_string() != *needed {
        return Ok(response_for(gateway, outcome));
    }
    loop {
        wait_for_login(gateway, &machine.connection, machine.key, login).await?;
        // The request was not kept: it is too long, or has a secret. The client sends it again after this answer.
        let Some(passed_on) = kept.as_deref().and_then(decode_kept_request) else {
            return Ok(response_for(
                gateway,
                RegistrationVerdict::Pending(login.to_string()),
            ));
        };
        match ask_registry(gateway, machine, node_key, passed_on).await? {
            RegistrationVerdict::Pending(needed) if needed == login.to_string() => {}
            outcome => return Ok(response_for(gateway, outcome)),
        }
    }
}

/// The verdict on a registration.
enum RegistrationVerdict {
    /// The client's answer: from the registry, or from the view while the registry can not be reached.
    Answered(Box<RegisterResponse>),
    /// Somebody has to decide about this login.
    Pending(String),
}

/// Asks the registry for its verdict.
async fn ask_registry(
    gateway: &Gateway,
    machine: &Machine,
    node_key: NodePublic,
    passed_on: registry::RegisterRequest,
) -> Result<RegistrationVerdict, RequestFailure> {
    // A request for another expiry, such as a logout, is a change: it has to wait for the registry.
    let may_readmit = passed_on.expiry.is_none();
    let readmit = || {
        let readmitted = may_readmit.then(|| readmit_known_node(gateway, machine, node_key));
        readmitted
            .flatten()
            .map(Box::new)
            .map(RegistrationVerdict::Answered)
    };
    // A node with a known key does not queue behind strangers.
    let origin = match gateway.hub.locate_here(node_key, machine.key) {
        Ok(Some(located)) => RequestOrigin::Known(located.node),
        _ => machine.request_origin(),
    };
    // The turn ends with this call: none is kept while a person decides.
    let turn = match gateway.turns.admit_registration(origin).await {
        Ok(turn) => turn,
        Err(failure) => return readmit().ok_or(failure),
    };
    let mut client = RegistrationServiceClient::new(gateway.backends.registry.clone());
    let answer = match client.register(passed_on).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if is_unavailable(&status) => return readmit().ok_or_else(|| status.into()),
        Err(status) => return Err(status.into()),
    };
    drop(turn);
    let answered = |response| Ok(RegistrationVerdict::Answered(Box::new(response)));
    match answer.outcome {
        Some(Outcome::Registered(registered)) => {
            let node = RegisteredNode::new(&registered)?;
            trace::note_node(node.tailnet.get(), node.id.get());
            let holder = Holder {
                owner: (node.tailnet, node.node.owner()),
                node: node.id,
            };
            // The node is registered, so it is answered even if it has asked too often.
            machine.connection.mark_known(holder).ok();
            answered(accepted_response(
                gateway,
                node.tailnet,
                node.node,
                &registered,
            ))
        }
        Some(Outcome::KeyExpired(_)) | Some(Outcome::LoggedOut(_)) => answered(RegisterResponse {
            node_key_expired: true,
            ..empty_response()
        }),
        Some(Outcome::LoginNeeded(needed)) => Ok(RegistrationVerdict::Pending(needed.login_id)),
        Some(Outcome::SignatureToRotate(rotate)) => answered(RegisterResponse {
            node_key_signature: Some(Base64Bytes(rotate.signature)),
            ..empty_response()
        }),
        Some(Outcome::Refused(refused)) => {
            let (source, reason) = (machine.connection.source(), refused.reason().as_str_name());
            gateway.refusal_log.log_refusal(
                source,
                machine.key,
                reason,
                tokio::time::Instant::now().into_std(),
            );
            answered(RegisterResponse {
                error: plain_text(&refused.text),
                ..empty_response()
            })
        }
        None => Err(RequestFailure::new(
            StatusCode::BAD_GATEWAY,
            "the registry gave no verdict",
        )),
    }
}

/// Returns the answer for the client; while a person has to decide, it names the page for that.
fn response_for(gateway: &Gateway, asked: RegistrationVerdict) -> RegisterResponse {
    match asked {
        RegistrationVerdict::Answered(response) => *response,
        RegistrationVerdict::Pending(login) => RegisterResponse {
            auth_url: format!("{}/register/{login}", gateway.config.public_url),
            ..empty_response()
        },
    }
}

/// Encodes a registration to keep it while a person decides; `None` when it is too long or has a secret.
fn encode_kept_request(passed_on: &registry::RegisterRequest) -> Option<Box<[u8]>> {
    let is_short = passed_on.pre_auth_key.is_empty() && passed_on.encoded_len() <= MOST_KEPT;
    is_short.then(|| passed_on.encode_to_vec().into_boxed_slice())
}

/// Decodes a registration that was kept.
fn decode_kept_request(kept: &[u8]) -> Option<registry::RegisterRequest> {
    registry::RegisterRequest::decode(kept).ok()
}

/// Says whether the registry, or a service it needs, could not be reached.
fn is_unavailable(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
    )
}

/// Answers a known node that restarts while the registry can not be reached, from the view (protocol section 5.3).
/// This changes nothing, and lets in only the holder of a key that is still valid.
fn readmit_known_node(
    gateway: &Gateway,
    machine: &Machine,
    node_key: NodePublic,
) -> Option<RegisterResponse> {
    let located = gateway.hub.locate_here(node_key, machine.key).ok()??;
    let view = located.tailnet.history.view();
    let shown = view.nodes.get(&located.node)?;
    let now = gateway.clock.now().timestamp();
    let is_live = |end: &Timestamp| end.seconds > now;
    if !gateway.is_registry_fresh()
        || !shown.offered
        || !shown.node.key_expiry.as_ref().is_none_or(is_live)
    {
        return None;
    }
    machine.connection.mark_known(located.holder()).ok();
    let user = user_profile(&view, owner_id(&shown.node));
    Some(accepted_response(
        gateway,
        located.tailnet.id,
        &shown.node,
        &Registered {
            login_name: user.login_name,
            display_name: user.display_name,
            ..Registered::default()
        },
    ))
}

/// Returns the login that an auth URL of this server names.
fn login_id(followup: &str) -> Option<LoginId> {
    followup.rsplit('/').next()?.parse().ok()
}

/// Reads the key with which a client signs for tailnet lock; empty for any other text.
fn read_lock_key(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("nlpub:").unwrap_or_default();
    let key = hex::decode(digits).unwrap_or_default();
    if key.len() == 32 { key } else { Vec::new() }
}

fn registry_request(
    machine: &Machine,
    request: RegisterRequest,
    followup: Option<LoginId>,
) -> Result<registry::RegisterRequest, RequestFailure> {
    let CheckedHostinfo { info, json } =
        CheckedHostinfo::new(request.hostinfo.unwrap_or_default())?;
    let auth = request.auth.as_ref();
    Ok(registry::RegisterRequest {
        machine_key: machine.key.as_bytes().to_vec(),
        node_key: request.node_key.as_bytes().to_vec(),
        old_node_key: match request.old_node_key.is_zero() {
            true => Vec::new(),
            false => request.old_node_key.as_bytes().to_vec(),
        },
        pre_auth_key: auth
            .map(|auth| auth.auth_key.trim().to_owned())
            .unwrap_or_default(),
        login_id: followup.map(|id| id.to_string()).unwrap_or_default(),
        // The year 1 is how clients write "none".
        expiry: request
            .expiry
            .filter(|expiry| expiry.timestamp() >= 0)
            .map(to_timestamp),
        ephemeral: request.ephemeral,
        hostname: info.hostname,
        os: info.os,
        client_version: info.ipn_version,
        advertised_routes: info.routable_ips,
        requested_tags: info.request_tags,
        required_tailnet: host::clean_name(
            request
                .tailnet
                .strip_prefix("required:")
                .unwrap_or_default(),
        ),
        capability_version: request.version.0.into(),
        source_address: machine.connection.network().to_string(),
        hostinfo: json,
        proven_node_keys: machine
            .proven
            .iter()
            .map(|key| key.as_bytes().to_vec())
            .collect(),
        lock_key: read_lock_key(&request.nl_key),
        key_signature: request.node_key_signature.0,
        os_version: info.os_version,
        auto_update: Some(info.allows_update),
        state_encrypted: info.state_encrypted,
    })
}
