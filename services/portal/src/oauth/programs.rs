//! Programs at a terminal, whose person logs in in a browser elsewhere.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use askama::Template;
use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Redirect, Response},
};
use bowline_proto::identity::v1::{
    FindProgramLoginRequest, LoginState, OpenProgramSessionRequest, OpenProgramSessionResponse,
    StartProgramLoginRequest,
};
use bowline_service_kit::rate_limit::RateLimit;
use bowline_tokens::{PresentedToken, TokenKind};
use prost_types::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tonic::Code;

use super::{failure::OAuthFailure, form::OAuthForm};
use crate::{
    account::{Source, address_text},
    failure::PageFailure,
    limits::MustWait,
    login::Portals,
    pages::{program_code_text, render},
    session::{describe_browser, sessions},
    start::Portal,
    texts::{ENGLISH, Texts},
};

/// How often a program asks whether its person has decided: five times at once, then once in two seconds.
pub(crate) const PROGRAM_TURNS: RateLimit = RateLimit::new(5, Duration::from_secs(INTERVAL));
/// How long a program waits before it asks again, in seconds.
const INTERVAL: u64 = 2;
/// Where a person types a program's code.
const DEVICE_PAGE: &str = "/device";

/// Begins the login of a program.
pub(super) async fn begin_login(
    portal: &Portal,
    source: SocketAddr,
    headers: &HeaderMap,
    mut form: OAuthForm,
) -> Result<Response, OAuthFailure> {
    if !form.take_words("scope").is_empty() {
        let text = "a session has no scopes: for fewer rights use bowline api-keys create --scope";
        let status = StatusCode::BAD_REQUEST;
        return Err(OAuthFailure::new(status, "invalid_scope", text));
    }
    let request = StartProgramLoginRequest {
        name: form.require("client_id")?.to_string(),
        description: Some(describe_browser(headers, address_text(source))),
    };
    let started = sessions(portal).start_program_login(request).await;
    let started = started.map_err(|status| OAuthFailure::from_status(&status))?;
    let started = started.into_inner();
    let login = started.login.unwrap_or_default();
    let code = program_code_text(&login.program.clone().unwrap_or_default().user_code);
    let page = format!("{}{DEVICE_PAGE}", portal.origin);
    let answer = json!({
        "device_code": started.device_code,
        "user_code": code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={code}"),
        "expires_in": count_seconds(login.created_at.as_ref(), login.expires_at.as_ref()),
        "interval": INTERVAL,
    });
    Ok(Json(answer).into_response())
}

/// Returns how many seconds lie between two times.
fn count_seconds(from: Option<&Timestamp>, to: Option<&Timestamp>) -> u64 {
    let seconds = from
        .zip(to)
        .map_or(0, |(from, to)| to.seconds - from.seconds);
    u64::try_from(seconds).unwrap_or_default()
}

/// Gives a program the session that its person has let it have.
pub(super) async fn give_session(
    portal: &Portal,
    source: IpAddr,
    device_code: &str,
) -> Result<Response, OAuthFailure> {
    let refused = |error, text| OAuthFailure::new(StatusCode::BAD_REQUEST, error, text);
    let unknown = || {
        refused(
            "invalid_grant",
            "this device code is not known, or was used",
        )
    };
    let Some(code) = PresentedToken::parse_as(TokenKind::DeviceCode, device_code) else {
        return Err(unknown());
    };
    let now = tokio::time::Instant::now().into_std();
    let tried = portal.program_limits.begin_try(source, code.id(), now);
    let tried = tried.map_err(|wait| match wait {
        MustWait::Network(wait) => OAuthFailure::of_network(wait),
        // The standard has a status of its own for who asks too often.
        MustWait::Holder(_) => refused("slow_down", "ask once in two seconds"),
    })?;
    let request = OpenProgramSessionRequest {
        device_code: device_code.to_owned(),
    };
    let opened = sessions(portal).open_program_session(request).await;
    let is_wrong = matches!(&opened, Err(status) if status.code() == Code::NotFound);
    if !is_wrong {
        tried.note_right();
    }
    let opened = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) => {
            return Err(match status.code() {
                Code::NotFound => unknown(),
                Code::FailedPrecondition => {
                    OAuthFailure::new(StatusCode::BAD_REQUEST, "access_denied", status.message())
                }
                _ => OAuthFailure::from_status(&status),
            });
        }
    };
    match opened.state() {
        LoginState::Approved => Ok(session_answer(&opened)),
        LoginState::Pending => Err(refused(
            "authorization_pending",
            "the person has not decided yet",
        )),
        LoginState::Denied => Err(OAuthFailure::new(
            StatusCode::BAD_REQUEST,
            "access_denied",
            opened.denial,
        )),
        LoginState::Expired | LoginState::Unspecified => Err(refused(
            "expired_token",
            "nobody decided in time: begin again",
        )),
    }
}

fn session_answer(opened: &OpenProgramSessionResponse) -> Response {
    let session = opened.session.clone().unwrap_or_default();
    let expires_in = count_seconds(session.created_at.as_ref(), session.expires_at.as_ref());
    let answer = json!({
        "access_token": opened.secret,
        "token_type": "Bearer",
        "expires_in": expires_in,
    });
    Json(answer).into_response()
}

#[derive(Debug, Deserialize)]
pub(crate) struct CodeQuery {
    /// What the person types, or the program's address says.
    #[serde(default)]
    user_code: String,
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodePage<'a> {
    texts: &'a Texts,
    typed: &'a str,
}

/// Asks for the code that a program shows, and leads to its login.
pub(crate) async fn get_program(
    State(portal): Portals,
    source: Source,
    Query(query): Query<CodeQuery>,
) -> Response {
    let answer = async {
        let typed: String = query.user_code.chars().take(20).collect();
        let page = CodePage {
            texts: &ENGLISH,
            typed: typed.trim(),
        };
        if page.typed.is_empty() {
            return Ok(render(StatusCode::OK, &page));
        }
        let address = source.map_or(IpAddr::from([0, 0, 0, 0]), |source| source.0.0.ip());
        let now = tokio::time::Instant::now().into_std();
        let tried = portal.code_limits.begin_try(address, now);
        let tried = tried.map_err(|_| PageFailure::Busy)?;
        let request = FindProgramLoginRequest {
            user_code: page.typed.to_owned(),
        };
        match sessions(&portal).find_program_login(request).await {
            Ok(found) => {
                tried.note_right();
                let login = found.into_inner().login_id;
                Ok(Redirect::to(&format!("/register/{login}")).into_response())
            }
            Err(status) if status.code() == Code::NotFound => {
                Ok(render(StatusCode::NOT_FOUND, &page))
            }
            Err(status) => {
                tried.note_right();
                Err(status.into())
            }
        }
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}
