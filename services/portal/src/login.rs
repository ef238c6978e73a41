//! The pages of a login.

use std::sync::Arc;

use axum::{
    extract::{Form, Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use bowline_ids::LoginId;
use bowline_proto::{
    addresses::{OIDC_CALLBACK, SIGNED_OUT},
    identity::v1::{
        BeginLoginAttemptRequest, DecideLoginAttemptRequest, FinishOidcLoginRequest,
        FinishPasskeyLoginRequest, GetLoginAttemptRequest, ListLoginChoicesRequest, Login,
        LoginAttempt, LoginAttemptState, LoginPurpose, OpenSessionRequest,
        StepUpLoginAttemptRequest, login_attempt_service_client::LoginAttemptServiceClient,
    },
};
use serde::Deserialize;

use crate::{
    account::{ACCOUNT, Source, source_text},
    attempt_pages,
    browser::Browser,
    failure::PageFailure,
    judgement::judge_device,
    pages,
    session::{self, describe_browser, sessions, set_cookie},
    start::Portal,
};

#[derive(Debug, Deserialize)]
pub(crate) struct OrganisationQuery {
    /// The organisation as the person names it.
    #[serde(default)]
    organisation: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChoiceForm {
    /// The connection's number.
    connection: u64,
}

#[derive(Deserialize)]
pub(crate) struct CallbackQuery {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    iss: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
pub(crate) struct PasskeyForm {
    /// What the browser has answered, as JSON.
    response: String,
}

#[derive(Deserialize)]
pub(crate) struct DecisionForm {
    token: String,
    /// `approve` or `deny`.
    decision: String,
}

#[derive(Deserialize)]
pub(crate) struct StepUpForm {
    token: String,
}

pub(crate) type Portals = State<Arc<Portal>>;

/// Shows the device behind an auth URL, and how to log in.
pub(crate) async fn get_choices(
    State(portal): Portals,
    Path(login): Path<String>,
    Query(query): Query<OrganisationQuery>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let login_id = read_id(&login)?;
        let organisation = query.organisation.chars().take(300).collect::<String>();
        let request = ListLoginChoicesRequest {
            login_id,
            organisation: organisation.clone(),
            session_secret: session_secret(&portal, &headers),
        };
        let answer = attempts(&portal)
            .list_login_choices(request)
            .await?
            .into_inner();
        pages::choices_page(answer, &organisation, portal.takes_passkeys)
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Sends the browser to the provider that was chosen.
pub(crate) async fn post_choice(
    State(portal): Portals,
    Path(login): Path<String>,
    headers: HeaderMap,
    Form(form): Form<ChoiceForm>,
) -> Response {
    let answer = async {
        let login_id = read_id(&login)?;
        let browser = Browser::read_or_make(&headers, portal.is_https);
        let request = BeginLoginAttemptRequest {
            login_id,
            connection_id: form.connection,
            browser: browser.hash(),
            callback_url: format!("{}{OIDC_CALLBACK}", portal.origin),
            origin: portal.origin.clone(),
            session_secret: session_secret(&portal, &headers),
        };
        let begun = attempts(&portal)
            .begin_login_attempt(request)
            .await?
            .into_inner();
        let cookie = [(header::SET_COOKIE, browser.cookie(portal.is_https))];
        Ok((cookie, pages::way_page(&begun)).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Takes what the browser brings back from an OpenID Connect provider.
pub(crate) async fn get_callback(
    State(portal): Portals,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Response {
    if query.state == SIGNED_OUT && query.code.is_empty() {
        return pages::ended_page();
    }
    let answer = async {
        let browser = Browser::read(&headers, portal.is_https)?;
        let request = FinishOidcLoginRequest {
            state: query.state,
            browser: browser.hash(),
            code: query.code,
            issuer: query.iss,
            error: query.error,
            error_description: query.error_description,
        };
        let answer = attempts(&portal)
            .finish_oidc_login(request)
            .await?
            .into_inner();
        let attempt = answer.attempt.ok_or(PageFailure::NotKnown)?;
        // The address with the code does not stay in the browser's bar or history.
        Ok(Redirect::to(&format!("/login/{}", attempt.id)).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Shows the device and the person, or what was decided.
pub(crate) async fn get_attempt(
    State(portal): Portals,
    source: Source,
    Path(attempt): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let browser = Browser::read(&headers, portal.is_https)?;
        let attempt_id = read_id(&attempt)?;
        let attempt = find_attempt(&portal, &browser, attempt_id).await?;
        if opens_session(&attempt) && !attempt.is_unsolicited {
            return open_session(&portal, &browser, &headers, source_text(source), attempt.id)
                .await;
        }
        let token = browser.form_token(&attempt.id);
        let judgement = judge_device(&portal, &attempt).await;
        attempt_pages::attempt_page(attempt, &judgement, token)
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Lets the device in, or turns it away; or opens the session that the provider has offered.
pub(crate) async fn post_decision(
    State(portal): Portals,
    source: Source,
    Path(attempt): Path<String>,
    headers: HeaderMap,
    Form(form): Form<DecisionForm>,
) -> Response {
    let answer = async {
        let browser = Browser::read(&headers, portal.is_https)?;
        let attempt_id = read_id(&attempt)?;
        browser.check_form_token(&attempt_id, &form.token)?;
        let approve = form.decision == "approve";
        let attempt = find_attempt(&portal, &browser, attempt_id.clone()).await?;
        if approve && opens_session(&attempt) {
            let source = source_text(source);
            return open_session(&portal, &browser, &headers, source, attempt_id).await;
        }
        let request = DecideLoginAttemptRequest {
            attempt_id: attempt_id.clone(),
            browser: browser.hash(),
            approve,
        };
        attempts(&portal).decide_login_attempt(request).await?;
        Ok(Redirect::to(&format!("/login/{attempt_id}")).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Sends the browser to the provider once more.
pub(crate) async fn post_step_up(
    State(portal): Portals,
    Path(attempt): Path<String>,
    headers: HeaderMap,
    Form(form): Form<StepUpForm>,
) -> Response {
    let answer = async {
        let browser = Browser::read(&headers, portal.is_https)?;
        let attempt_id = read_id(&attempt)?;
        browser.check_form_token(&attempt_id, &form.token)?;
        let request = StepUpLoginAttemptRequest {
            attempt_id,
            browser: browser.hash(),
            callback_url: format!("{}{OIDC_CALLBACK}", portal.origin),
            origin: portal.origin.clone(),
        };
        let answer = attempts(&portal).step_up_login_attempt(request).await?;
        let way = answer.into_inner().way.ok_or(PageFailure::NotKnown)?;
        Ok(pages::way_page(&way))
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Takes the answer of a passkey.
pub(crate) async fn post_passkey(
    State(portal): Portals,
    Path(attempt): Path<String>,
    headers: HeaderMap,
    Form(form): Form<PasskeyForm>,
) -> Response {
    let answer = async {
        let browser = Browser::read(&headers, portal.is_https)?;
        let request = FinishPasskeyLoginRequest {
            attempt_id: read_id(&attempt)?,
            browser: browser.hash(),
            origin: portal.origin.clone(),
            response: form.response,
        };
        let answer = attempts(&portal).finish_passkey_login(request).await?;
        let attempt = answer.into_inner().attempt.ok_or(PageFailure::NotKnown)?;
        Ok(Redirect::to(&format!("/login/{}", attempt.id)).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Says whether an attempt lets this browser in, and not a device: then there is nothing left to decide.
fn opens_session(attempt: &LoginAttempt) -> bool {
    let purpose = attempt.login.as_ref().map(Login::purpose);
    attempt.state() == LoginAttemptState::Identified && purpose == Some(LoginPurpose::Session)
}

/// Opens the session that an attempt has proven. A page of another site can lead a browser here, and does no harm: this browser
/// has begun the attempt, or the person has pressed the button of the page that says whose it is.
async fn open_session(
    portal: &Portal,
    browser: &Browser,
    headers: &HeaderMap,
    source: String,
    attempt_id: String,
) -> Result<Response, PageFailure> {
    let request = OpenSessionRequest {
        attempt_id,
        browser: browser.hash(),
        description: Some(describe_browser(headers, source)),
    };
    let opened = sessions(portal).open_session(request).await?.into_inner();
    let cookie = set_cookie(&opened.secret, portal.is_https);
    let cookie = [(header::SET_COOKIE, cookie)];
    Ok((cookie, Redirect::to(ACCOUNT)).into_response())
}

/// Returns what the browser proves its session by; empty without one.
fn session_secret(portal: &Portal, headers: &HeaderMap) -> String {
    let secret = session::read_secret(headers, portal.is_https);
    secret.map_or_else(String::new, |secret| secret.to_string())
}

async fn find_attempt(
    portal: &Portal,
    browser: &Browser,
    attempt_id: String,
) -> Result<LoginAttempt, PageFailure> {
    let request = GetLoginAttemptRequest {
        attempt_id,
        browser: browser.hash(),
    };
    let answer = attempts(portal)
        .get_login_attempt(request)
        .await?
        .into_inner();
    answer.attempt.ok_or(PageFailure::NotKnown)
}

pub(crate) fn attempts(
    portal: &Portal,
) -> LoginAttemptServiceClient<bowline_service_kit::GrpcChannel> {
    LoginAttemptServiceClient::new(portal.identity.clone())
}

/// Returns the identifier of a login or an attempt in the one form it has.
pub(crate) fn read_id(text: &str) -> Result<String, PageFailure> {
    let id: LoginId = text.parse().map_err(|_| PageFailure::NotKnown)?;
    Ok(id.to_string())
}
