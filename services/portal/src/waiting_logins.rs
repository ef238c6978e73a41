//! Devices that wait for somebody to let them in, on the page of an administrator.
//!
//! Which of them an administrator sees, and may let in, identity decides, which is given the administrator's session.

use askama::Template;
use axum::{
    extract::{Form, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use bowline_proto::identity::v1::{
    ApproveLoginRequest, DenyLoginRequest, ListLoginsRequest, ListUsersRequest, Login,
    login_service_client::LoginServiceClient, user_service_client::UserServiceClient,
};
use bowline_service_kit::GrpcChannel;
use serde::Deserialize;

use crate::{
    account::ACCOUNT,
    failure::PageFailure,
    login::{Portals, read_id},
    pages::{DeviceView, render},
    session::SignedIn,
    start::Portal,
    texts::{ENGLISH, Texts},
};

#[derive(Deserialize)]
pub(crate) struct LoginForm {
    token: String,
    /// `approve` or `deny`.
    decision: String,
    /// The login name of whose node the device becomes.
    #[serde(default)]
    user: String,
}

#[derive(Template)]
#[template(path = "waiting_login.html")]
struct WaitingLoginPage<'a> {
    texts: &'a Texts,
    device: DeviceView,
    login_id: &'a str,
    /// What was typed, where nobody is called so.
    unknown: &'a str,
    token: String,
}

/// Returns the newest devices that wait; none, unless the person may let them in. The page has more than these, and does not depend
/// on what strangers have begun.
pub(crate) async fn list_waiting(portal: &Portal, person: &SignedIn) -> Vec<Login> {
    if !person.administers() {
        return Vec::new();
    }
    let listed = list_logins(portal, person, String::new()).await;
    listed.unwrap_or_else(|failure| {
        tracing::warn!(?failure, "the devices that wait are not shown");
        Vec::new()
    })
}

async fn list_logins(
    portal: &Portal,
    person: &SignedIn,
    login_id: String,
) -> Result<Vec<Login>, PageFailure> {
    let request = ListLoginsRequest {
        tailnet_id: person.tailnet_id(),
        login_id,
    };
    let answer = logins(portal)
        .list_logins(person.authorize(request))
        .await?;
    Ok(answer.into_inner().logins)
}

/// Shows one device that waits.
pub(crate) async fn get_login(
    State(portal): Portals,
    Path(login): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        let login = find_waiting(&portal, &person, &login).await?;
        Ok(login_page(StatusCode::OK, &person, &login, ""))
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Lets a device in as a user's, or turns it away.
pub(crate) async fn post_login(
    State(portal): Portals,
    Path(login): Path<String>,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&form.token)?;
        let login = find_waiting(&portal, &person, &login).await?;
        let tailnet_id = person.tailnet_id();
        match form.decision.as_str() {
            "approve" => {
                let name = form.user.trim();
                let Some(user_id) = find_user(&portal, &person, name).await? else {
                    return Ok(login_page(StatusCode::NOT_FOUND, &person, &login, name));
                };
                let request = ApproveLoginRequest {
                    login_id: login.id,
                    tailnet_id,
                    user_id,
                };
                let mut logins = logins(&portal);
                logins.approve_login(person.authorize(request)).await?;
            }
            "deny" => {
                let request = DenyLoginRequest {
                    login_id: login.id,
                    tailnet_id,
                    reason: String::new(),
                };
                logins(&portal)
                    .deny_login(person.authorize(request))
                    .await?;
            }
            _ => return Err(PageFailure::NotKnown),
        }
        Ok(Redirect::to(ACCOUNT).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

fn login_page(status: StatusCode, person: &SignedIn, login: &Login, unknown: &str) -> Response {
    let page = WaitingLoginPage {
        texts: &ENGLISH,
        device: DeviceView::new(login, &ENGLISH),
        login_id: &login.id,
        unknown,
        token: person.form_token(),
    };
    render(status, &page)
}

/// Finds a device that waits for this administrator.
async fn find_waiting(
    portal: &Portal,
    person: &SignedIn,
    login: &str,
) -> Result<Login, PageFailure> {
    if !person.administers() {
        return Err(PageFailure::NotKnown);
    }
    let mut found = list_logins(portal, person, read_id(login)?).await?;
    // A release that knows no filter answers with all.
    found.retain(|found| found.id == login);
    found.pop().ok_or(PageFailure::NotKnown)
}

async fn find_user(
    portal: &Portal,
    person: &SignedIn,
    login_name: &str,
) -> Result<Option<u64>, PageFailure> {
    if login_name.is_empty() {
        return Ok(None);
    }
    let request = ListUsersRequest {
        tailnet_id: person.tailnet_id(),
        login_name: login_name.to_owned(),
        ..ListUsersRequest::default()
    };
    let mut users = UserServiceClient::new(portal.identity.clone());
    let found = users.list_users(person.authorize(request)).await?;
    let mut found = found.into_inner().users.into_iter();
    // A release that knows no filter answers with all.
    let named = found.find(|user| user.login_name.to_lowercase() == login_name.to_lowercase());
    Ok(named.map(|user| user.id))
}

fn logins(portal: &Portal) -> LoginServiceClient<GrpcChannel> {
    LoginServiceClient::new(portal.identity.clone())
}
