//! Registration: passes on what the client proved and sent, and tells it the registry's verdict (protocol
//! section 5). No verdict is made here.

use std::time::Duration;

use axum::http::StatusCode;
use bowline_control_wire::{Login, RegisterRequest, RegisterResponse, User, plain_text};
use bowline_ids::{LoginId, TailnetId};
use bowline_keys::NodePublic;
use bowline_proto::{
    identity::v1::{WaitLoginRequest, login_service_client::LoginServiceClient},
    key_registry::v1::{
        self as registry, Node, Registered, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
};
use prost_types::Timestamp;
use tonic::{Code, Request, Status};

use super::{
    Failure, Machine,
    host::{self, Host},
};
use crate::{
    gateway::Gateway,
    netmap::{TAGGED_DEVICES, owner, profile},
};

/// How long one question to identity is held while a person decides.
const WAIT: Duration = Duration::from_secs(50);

/// Answers a registration.
pub async fn register(
    gateway: &Gateway,
    machine: &Machine,
    request: RegisterRequest,
) -> Result<RegisterResponse, Failure> {
    if request.node_key.is_zero() {
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "the request has no node key",
        ));
    }
    let followup = login_id(&request.followup);
    let node_key = request.node_key;
    let passed_on = pass_on(machine, request, followup)?;
    let mut client = RegistrationServiceClient::new(gateway.backends.registry.clone());
    loop {
        let answer = match client.register(passed_on.clone()).await {
            Ok(answer) => answer.into_inner(),
            // A wish for another expiry, a logout among them, is a change: it waits.
            Err(status) if passed_on.expiry.is_none() && is_away(&status) => {
                let readmitted = readmit(gateway, machine, node_key);
                return readmitted.ok_or_else(|| status.into());
            }
            Err(status) => return Err(status.into()),
        };
        return Ok(match answer.outcome {
            Some(Outcome::Registered(registered)) => {
                machine.connection.is_known();
                accept(gateway, &registered)
            }
            Some(Outcome::KeyExpired(_)) | Some(Outcome::LoggedOut(_)) => RegisterResponse {
                node_key_expired: true,
                ..empty()
            },
            Some(Outcome::LoginNeeded(needed)) => {
                if followup.is_some_and(|id| id.to_string() == needed.login_id) {
                    wait(gateway, &needed.login_id).await?;
                    continue;
                }
                let auth_url =
                    format!("{}/register/{}", gateway.config.public_url, needed.login_id);
                RegisterResponse {
                    auth_url,
                    ..empty()
                }
            }
            Some(Outcome::Refused(refused)) => {
                tracing::info!(machine = ?machine.key, reason = ?refused.reason(), "registration refused");
                RegisterResponse {
                    error: plain_text(&refused.text),
                    ..empty()
                }
            }
            None => {
                return Err(Failure::new(
                    StatusCode::BAD_GATEWAY,
                    "the registry gave no verdict",
                ));
            }
        });
    }
}

/// Says whether the registry gave no verdict because it or what it needs is away.
fn is_away(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
    )
}

/// Answers the restart of a known node from the view while the registry is away (protocol section 5.3): nothing is
/// changed by it, and nobody else than the holder of a live key is let in.
fn readmit(gateway: &Gateway, machine: &Machine, node_key: NodePublic) -> Option<RegisterResponse> {
    let located = gateway.hub.locate_here(node_key, machine.key).ok()??;
    let view = located.tailnet.history.view();
    let shown = view.nodes.get(&located.node)?;
    let now = gateway.clock.now().timestamp();
    let is_live = |end: &Timestamp| end.seconds > now;
    if !gateway.may_readmit()
        || !shown.offered
        || !shown.node.key_expiry.as_ref().is_none_or(is_live)
    {
        return None;
    }
    machine.connection.is_known();
    let user = profile(&view, owner(&shown.node));
    Some(accept(
        gateway,
        &Registered {
            node: Some(Node::clone(&shown.node)),
            login_name: user.login_name,
            display_name: user.display_name,
            ..Registered::default()
        },
    ))
}

/// Waits until somebody has decided, or for a while.
async fn wait(gateway: &Gateway, login_id: &str) -> Result<(), Failure> {
    let mut client = LoginServiceClient::new(gateway.backends.identity.clone());
    let mut request = Request::new(WaitLoginRequest {
        login_id: login_id.to_owned(),
    });
    request.set_timeout(WAIT + Duration::from_secs(5));
    match client.wait_login(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == tonic::Code::DeadlineExceeded => Ok(()),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
        Err(status) => Err(status.into()),
    }
}

fn accept(gateway: &Gateway, registered: &Registered) -> RegisterResponse {
    let node = registered.node.clone().unwrap_or_default();
    if let Ok(tailnet) = TailnetId::try_from(node.tailnet_id) {
        // The client's map request follows at once: begin to follow its tailnet now.
        gateway.hub.tailnet(tailnet);
        gateway.hub.hint(tailnet, registered.revision);
    }
    let id = if node.tags.is_empty() && node.user_id != 0 {
        node.user_id
    } else {
        TAGGED_DEVICES
    };
    let name =
        |text: &str, otherwise: &str| plain_text(if text.is_empty() { otherwise } else { text });
    let login_name = name(&registered.login_name, "tagged-devices");
    let display_name = name(&registered.display_name, &login_name);
    RegisterResponse {
        user: User {
            id,
            display_name: display_name.clone(),
        },
        login: Login {
            id,
            provider: "bowline".to_owned(),
            login_name,
            display_name,
        },
        machine_authorized: node.approved,
        ..RegisterResponse::default()
    }
}

/// Returns an answer without an account; its numbers are positive, as clients want them.
fn empty() -> RegisterResponse {
    RegisterResponse {
        user: User {
            id: TAGGED_DEVICES,
            ..User::default()
        },
        login: Login {
            id: TAGGED_DEVICES,
            provider: "bowline".to_owned(),
            ..Login::default()
        },
        ..RegisterResponse::default()
    }
}

/// Returns the login an auth URL of ours names.
fn login_id(followup: &str) -> Option<LoginId> {
    followup.rsplit('/').next()?.parse().ok()
}

fn pass_on(
    machine: &Machine,
    request: RegisterRequest,
    followup: Option<LoginId>,
) -> Result<registry::RegisterRequest, Failure> {
    let Host { info, json } = Host::new(request.hostinfo)?;
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
            .map(|expiry| Timestamp {
                seconds: expiry.timestamp(),
                nanos: expiry.timestamp_subsec_nanos().cast_signed(),
            }),
        ephemeral: request.ephemeral,
        hostname: info.hostname,
        os: info.os,
        client_version: info.ipn_version,
        advertised_routes: info.routable_ips,
        requested_tags: info.request_tags,
        required_tailnet: host::name(
            request
                .tailnet
                .strip_prefix("required:")
                .unwrap_or_default(),
        ),
        capability_version: request.version.0.into(),
        source_address: machine.connection.source().to_string(),
        hostinfo: json,
        proven_node_keys: machine
            .proven
            .iter()
            .map(|key| key.as_bytes().to_vec())
            .collect(),
    })
}
