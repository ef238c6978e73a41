//! What a node asks before it lets somebody in over SSH, where a rule wants the connection checked (policy section 14.2).
//!
//! ```text
//! GET …/SOURCE/to/DESTINATION?local_user=…            checked lately: accept
//!                                                     otherwise: hold, with the address of a login for the person to read
//! GET …/SOURCE/to/DESTINATION?local_user=…&login=…    waits for that login: accept, refuse, or hold on
//! ```
//!
//! The rules are judged anew each time, so that a policy that has changed meanwhile counts.

use std::sync::Arc;

use axum::http::StatusCode;
use bowline_control_wire::{SshAction, plain_text};
use bowline_ids::{LoginId, NodeId};
use bowline_keys::MachinePublic;
use bowline_netmap::{ShownNode, SshJudgement, View, hold_for_login, judge_ssh};
use bowline_proto::identity::v1::{
    CheckSshRequest, Login, LoginState, SshConnection, login_service_client::LoginServiceClient,
};
use serde::Deserialize;
use tonic::Code;

use super::{
    Machine, RequestFailure,
    login_wait::wait_for_login,
    map::{FIRST_VIEW, incomplete_failure},
};
use crate::{gateway::Gateway, tailnet::Tailnet};

const NO_RULE: &str = "The network's policy does not let you in here.";
const NO_PERSON: &str = "The network's policy wants this connection checked by a person, and the device that connects is nobody's: \
    it has tags.";
const TOO_LATE: &str = "Nobody has answered for this connection in time. Connect again.";

/// The two ends of a connection, by number.
#[derive(Debug, Deserialize)]
pub struct SshEnds {
    source: u64,
    destination: u64,
}

/// What else a node says of a connection.
#[derive(Debug, Deserialize)]
pub struct SshQuery {
    /// The account that is connected to.
    #[serde(default)]
    local_user: String,
    /// The login that the connection waits for already.
    #[serde(default)]
    login: String,
}

/// Answers a node whose rules want a connection checked. It is the destination that asks.
///
/// # Errors
///
/// When the node is not the machine's, or a service can not answer: the client asks again.
pub async fn answer_ssh_check(
    gateway: &Gateway,
    machine: &Machine,
    ends: SshEnds,
    query: SshQuery,
) -> Result<SshAction, RequestFailure> {
    let number = |number| {
        let unknown = |_| RequestFailure::new(StatusCode::NOT_FOUND, "there is no such node");
        NodeId::try_from(number).map_err(unknown)
    };
    let (source, destination) = (number(ends.source)?, number(ends.destination)?);
    let tailnet = find_tailnet(gateway, machine, destination).await?;
    let awaited = query.login.parse::<LoginId>().ok();
    let decided = match awaited {
        Some(login) => wait_at_source(gateway, machine, &tailnet, source, login).await?,
        None => None,
    };
    let view = tailnet.history.view();
    let nodes = (view.nodes.get(&source), view.nodes.get(&destination));
    let (Some(source), Some(destination)) = nodes else {
        return Ok(refusal(NO_RULE));
    };
    let Some(verdict) = judge_ssh(&view, destination, source, &query.local_user) else {
        return Ok(refusal(NO_RULE));
    };
    let Some(period) = verdict.check_period else {
        return Ok(verdict.action);
    };
    let Some(connection) = describe_connection(&view, source, destination, query.local_user) else {
        return Ok(refusal(NO_PERSON));
    };
    match awaited {
        Some(_) => Ok(answer_decided(decided, &connection, verdict)),
        None => ask_identity(gateway, machine, source, connection, period, verdict).await,
    }
}

/// Returns the tailnet of a machine's node, once the node is shown there.
async fn find_tailnet(
    gateway: &Gateway,
    machine: &Machine,
    node: NodeId,
) -> Result<Arc<Tailnet>, RequestFailure> {
    let holder = machine
        .connection
        .holder()
        .filter(|holder| holder.node == node);
    let known = holder.map(|holder| holder.owner.0);
    let origin = machine.request_origin();
    let located = gateway.hub.locate_number(node, machine.key, known, origin);
    let tailnet = located.await?.tailnet;
    match tailnet.wait_until_present(node, FIRST_VIEW).await {
        true => Ok(tailnet),
        false => Err(incomplete_failure()),
    }
}

/// Waits for the login of a connection. Each machine that connects has waits of its own: many may connect to one.
async fn wait_at_source(
    gateway: &Gateway,
    machine: &Machine,
    tailnet: &Tailnet,
    source: NodeId,
    login: LoginId,
) -> Result<Option<Login>, RequestFailure> {
    let view = tailnet.history.view();
    let source = view.nodes.get(&source);
    let waiter = source.and_then(|shown| MachinePublic::try_from(&*shown.node.machine_key).ok());
    drop(view);
    match waiter {
        Some(waiter) => wait_for_login(gateway, &machine.connection, waiter, login).await,
        None => Ok(None),
    }
}

/// Returns the connection as identity is told it; `None` when no person is behind its source.
fn describe_connection(
    view: &View,
    source: &ShownNode,
    destination: &ShownNode,
    local_user: String,
) -> Option<SshConnection> {
    Some(SshConnection {
        tailnet_id: view.tailnet.id,
        source_node_id: source.id.get(),
        source_name: source.node.name.clone(),
        user_id: source.user()?.get(),
        destination_node_id: destination.id.get(),
        destination_name: destination.node.name.clone(),
        local_user,
    })
}

/// Lets in a connection whose person was checked lately, and lets another one wait for a login.
async fn ask_identity(
    gateway: &Gateway,
    machine: &Machine,
    source: &ShownNode,
    connection: SshConnection,
    period_seconds: u64,
    verdict: SshJudgement,
) -> Result<SshAction, RequestFailure> {
    let target = format!("{}@{}", connection.local_user, connection.destination_name);
    let request = CheckSshRequest {
        ssh: Some(connection),
        period_seconds,
        source_machine_key: source.node.machine_key.clone(),
        source_address: machine.connection.network().to_string(),
    };
    let mut client = LoginServiceClient::new(gateway.backends.identity.clone());
    let answer = match client.check_ssh(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::FailedPrecondition => {
            return Ok(refusal(status.message()));
        }
        Err(status) => return Err(status.into()),
    };
    let Some(login) = answer.login else {
        return Ok(verdict.action);
    };
    let address = format!("{}/register/{}", gateway.config.public_url, login.id);
    let message = format!(
        "# The network's policy wants to know that it is you who connects to {}.\r\n# To go on, open:\r\n#\r\n#\t{address}\r\n#\r\n",
        plain_text(&target),
    );
    Ok(hold_for_login(&login.id, message))
}

/// Answers a connection that has waited for a login.
fn answer_decided(
    decided: Option<Login>,
    connection: &SshConnection,
    verdict: SshJudgement,
) -> SshAction {
    let ends = |ssh: &SshConnection| {
        let nodes = (ssh.source_node_id, ssh.destination_node_id);
        (ssh.tailnet_id, ssh.user_id, nodes, ssh.local_user.clone())
    };
    // Identity may be away for a moment, or the login may be another's: only what is known for sure lets somebody in.
    let own = decided.filter(|login| login.ssh.as_ref().map(ends) == Some(ends(connection)));
    let Some(login) = own else {
        return refusal(TOO_LATE);
    };
    match login.state() {
        LoginState::Approved => verdict.action,
        LoginState::Pending => hold_for_login(&login.id, String::new()),
        LoginState::Denied => refusal(&login.denial),
        LoginState::Expired | LoginState::Unspecified => refusal(TOO_LATE),
    }
}

fn refusal(text: &str) -> SshAction {
    SshAction {
        reject: true,
        message: format!("{}\r\n", plain_text(text)),
        ..SshAction::default()
    }
}
