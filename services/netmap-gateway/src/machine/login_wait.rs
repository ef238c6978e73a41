//! Waiting until a person has decided about a login.

use std::time::Duration;

use axum::http::StatusCode;
use bowline_ids::LoginId;
use bowline_keys::MachinePublic;
use bowline_proto::identity::v1::{
    Login, WaitLoginRequest, login_service_client::LoginServiceClient,
};
use tonic::{Code, Request};

use super::{RequestFailure, draining_failure};
use crate::{gateway::Gateway, listener::Connection};

/// How long one question to identity waits while a person decides: longer than identity holds it (45 s), so that its
/// answer is there before.
const WAIT: Duration = Duration::from_secs(50);

/// Waits on a connection until a person has decided about a login, at most for [`WAIT`]. Returns the login as it is then, `None`
/// when identity does not say. `waiter` is the machine that the login lets on: a few requests may wait for each. Only ids, keys
/// and what the caller keeps stay in memory meanwhile.
pub(super) async fn wait_for_login(
    gateway: &Gateway,
    connection: &Connection,
    waiter: MachinePublic,
    login: LoginId,
) -> Result<Option<Login>, RequestFailure> {
    let crowded = |text| {
        metrics::counter!("bowline_gateway_waits_refused_total").increment(1);
        RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text)
    };
    let source = connection.source();
    let Some(place) = gateway.followup_waits.begin_wait(login, waiter, source) else {
        let text = "too many devices wait for somebody to let them in: try again in a few minutes";
        return Err(crowded(text));
    };
    let mut client = LoginServiceClient::new(gateway.backends.identity_for_waits.clone());
    let mut request = Request::new(WaitLoginRequest {
        login_id: login.to_string(),
    });
    request.set_timeout(WAIT + Duration::from_secs(5));
    let decided = tokio::select! {
        decided = client.wait_login(request) => decided,
        () = place.wait_until_displaced() => return Err(crowded("this login is waited for on newer connections")),
        () = connection.wait_until_closing() => return Err(draining_failure()),
    };
    match decided {
        Ok(answer) => Ok(answer.into_inner().login),
        Err(status) if matches!(status.code(), Code::DeadlineExceeded | Code::NotFound) => Ok(None),
        Err(status) => Err(status.into()),
    }
}
