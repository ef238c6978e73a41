//! Adding a passkey: two requests of the script on the person's page.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bowline_proto::identity::v1::{BeginPasskeyRequest, FinishPasskeyRequest};
use serde::{Deserialize, Serialize};

use crate::{account::passkeys, failure::PageFailure, login::Portals, session::SignedIn};

#[derive(Deserialize)]
pub(crate) struct BeginBody {
    token: String,
}

#[derive(Deserialize)]
pub(crate) struct FinishBody {
    token: String,
    name: String,
    /// What the browser has made, as JSON text.
    response: String,
}

/// What the script is told in place of a page.
#[derive(Serialize)]
struct PasskeyProblem {
    problem: String,
}

/// Returns what the browser needs to make a passkey.
pub(crate) async fn post_begin(
    State(portal): Portals,
    headers: HeaderMap,
    Json(body): Json<BeginBody>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&body.token)?;
        let request = BeginPasskeyRequest {
            session_secret: person.secret.to_string(),
            origin: portal.origin.clone(),
        };
        let begun = passkeys(&portal).begin_passkey(request).await?;
        let kind = [(header::CONTENT_TYPE, "application/json")];
        Ok((kind, begun.into_inner().options).into_response())
    };
    answer
        .await
        .unwrap_or_else(|failure| problem_answer(&failure))
}

/// Adds the passkey that the browser has made.
pub(crate) async fn post_finish(
    State(portal): Portals,
    headers: HeaderMap,
    Json(body): Json<FinishBody>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&body.token)?;
        let request = FinishPasskeyRequest {
            session_secret: person.secret.to_string(),
            origin: portal.origin.clone(),
            response: body.response,
            name: body.name,
        };
        passkeys(&portal).finish_passkey(request).await?;
        Ok(Json(serde_json::json!({})).into_response())
    };
    answer
        .await
        .unwrap_or_else(|failure| problem_answer(&failure))
}

fn problem_answer(failure: &PageFailure) -> Response {
    let status = failure.status();
    let problem = failure.texts().1.to_owned();
    (status, Json(PasskeyProblem { problem })).into_response()
}
