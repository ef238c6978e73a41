//! The pages, filled in.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use bowline_keys::{MachinePublic, NodePublic};
use bowline_proto::identity::v1::{
    BeginLoginAttemptResponse, FormField, ListLoginChoicesResponse, Login, LoginAttempt,
    LoginAttemptState, LoginChoice, LoginState,
};

use url::Url;

use crate::{
    failure::PageFailure,
    guard,
    texts::{ENGLISH, Texts},
};

/// What a device says of itself, as pages show it.
struct DeviceView {
    rows: Vec<(&'static str, String)>,
}

impl DeviceView {
    fn new(login: &Login, texts: &Texts) -> Self {
        let device = login.device.clone().unwrap_or_default();
        let machine = MachinePublic::try_from(&*login.machine_key).unwrap_or_default();
        let node = NodePublic::try_from(&*login.node_key).unwrap_or_default();
        let rows = [
            (texts.device, device.hostname),
            (texts.system, device.os),
            (texts.client, device.client_version),
            (texts.source, device.source_address),
            (texts.tags, device.requested_tags.join(", ")),
            (texts.routes, device.advertised_routes.join(", ")),
            (texts.asked_at, asked_at_text(login)),
            (texts.machine_key, format!("{machine:?}")),
            (texts.node_key, format!("{node:?}")),
        ];
        let rows = rows
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self { rows }
    }
}

/// Returns when a device asked, to the second: `2026-11-27 05:39:03 UTC`.
fn asked_at_text(login: &Login) -> String {
    let Some(time) = &login.created_at else {
        return String::new();
    };
    let text = time.to_string();
    let (seconds, _) = text
        .split_once('.')
        .unwrap_or((text.trim_end_matches('Z'), ""));
    format!("{} UTC", seconds.replace('T', " "))
}

#[derive(Template)]
#[template(path = "choices.html")]
struct ChoicesPage<'a> {
    texts: &'a Texts,
    device: DeviceView,
    login_id: String,
    choices: Vec<LoginChoice>,
    needs_organisation: bool,
    organisation: &'a str,
}

#[derive(Template)]
#[template(path = "redirect.html")]
struct RedirectPage<'a> {
    texts: &'a Texts,
    url: &'a str,
}

#[derive(Template)]
#[template(path = "post.html")]
struct PostPage<'a> {
    texts: &'a Texts,
    url: &'a str,
    fields: &'a [FormField],
}

#[derive(Template)]
#[template(path = "step-up.html")]
struct StepUpPage<'a> {
    texts: &'a Texts,
    attempt_id: String,
    token: String,
    provider: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    texts: &'a Texts,
    device: DeviceView,
    attempt_id: String,
    token: String,
    person: String,
    network: String,
    provider: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    texts: &'a Texts,
    title: &'a str,
    lead: &'a str,
    more: &'a str,
}

fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page can not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn message_page(status: StatusCode, title: &str, lead: &str, more: &str) -> Response {
    let texts = &ENGLISH;
    render(
        status,
        &MessagePage {
            texts,
            title,
            lead,
            more,
        },
    )
}

/// Shows the device behind an auth URL, and how to log in.
pub(crate) fn choices_page(
    answer: ListLoginChoicesResponse,
    organisation: &str,
) -> Result<Response, PageFailure> {
    let texts = &ENGLISH;
    let login = answer.login.ok_or(PageFailure::NotKnown)?;
    let ended = |title, lead| Ok(message_page(StatusCode::OK, title, lead, &login.denial));
    match login.state() {
        LoginState::Pending => {}
        LoginState::Approved => return ended(texts.approved_title, texts.approved_lead),
        LoginState::Denied => return ended(texts.denied_title, texts.denied_lead),
        LoginState::Expired | LoginState::Unspecified => {
            return ended(texts.ended_title, texts.ended_lead);
        }
    }
    let page = ChoicesPage {
        texts,
        device: DeviceView::new(&login, texts),
        login_id: login.id,
        choices: answer.choices,
        needs_organisation: answer.needs_organisation,
        organisation,
    };
    Ok(render(StatusCode::OK, &page))
}

/// Sends the browser to a provider, in the way that the provider takes.
pub(crate) fn way_page(way: &BeginLoginAttemptResponse) -> Response {
    match way.post_fields.is_empty() {
        true => redirect_page(&way.redirect_url),
        false => post_page(&way.redirect_url, &way.post_fields),
    }
}

/// Sends the browser on. A redirect of the form itself would be subject to what this page allows forms.
fn redirect_page(url: &str) -> Response {
    render(
        StatusCode::OK,
        &RedirectPage {
            texts: &ENGLISH,
            url,
        },
    )
}

/// Lets the browser send a form to the provider.
fn post_page(url: &str, fields: &[FormField]) -> Response {
    let texts = &ENGLISH;
    let page = PostPage { texts, url, fields };
    let mut response = render(StatusCode::OK, &page);
    let origin = Url::parse(url).map(|url| url.origin().ascii_serialization());
    let policy = guard::policy_for_form(&origin.unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Shows the device and the person, or what was decided.
pub(crate) fn attempt_page(attempt: LoginAttempt, token: String) -> Result<Response, PageFailure> {
    let texts = &ENGLISH;
    let message = |title, lead| Ok(message_page(StatusCode::OK, title, lead, ""));
    match attempt.state() {
        LoginAttemptState::Identified => {}
        LoginAttemptState::NeedsMore => {
            let page = StepUpPage {
                texts,
                attempt_id: attempt.id,
                token,
                provider: attempt.connection_name,
            };
            return Ok(render(StatusCode::OK, &page));
        }
        LoginAttemptState::Approved => return message(texts.approved_title, texts.approved_lead),
        LoginAttemptState::Denied => return message(texts.denied_title, texts.denied_lead),
        LoginAttemptState::Sent | LoginAttemptState::Answered | LoginAttemptState::Unspecified => {
            return Err(PageFailure::NotKnown);
        }
    }
    let login = attempt.login.ok_or(PageFailure::NotKnown)?;
    let user = attempt.user.ok_or(PageFailure::NotKnown)?;
    match login.state() {
        LoginState::Pending => {}
        _ => return message(texts.ended_title, texts.ended_lead),
    }
    let person = match user.display_name.as_str() {
        "" => user.login_name,
        name => format!("{name} ({})", user.login_name),
    };
    let page = ConfirmPage {
        texts,
        device: DeviceView::new(&login, texts),
        attempt_id: attempt.id,
        token,
        person,
        network: attempt.tailnet_name,
        provider: attempt.connection_name,
    };
    Ok(render(StatusCode::OK, &page))
}

/// Says what went wrong and what to do.
pub(crate) fn failure_page(status: StatusCode, failure: &PageFailure) -> Response {
    let texts = &ENGLISH;
    let (title, lead, more) = match failure {
        PageFailure::OtherHost => (texts.host_title, texts.host_lead, ""),
        PageFailure::OtherOrigin | PageFailure::WrongToken => {
            (texts.origin_title, texts.origin_lead, "")
        }
        PageFailure::NoBrowser => (texts.browser_title, texts.browser_lead, ""),
        PageFailure::NotKnown => (texts.not_known_title, texts.not_known_lead, ""),
        PageFailure::Refused(words) => (texts.refused_title, words.as_str(), texts.refused_next),
        PageFailure::Busy => (texts.busy_title, texts.busy_lead, ""),
        PageFailure::Unavailable(problem) => (
            texts.unavailable_title,
            texts.unavailable_lead,
            problem.as_str(),
        ),
    };
    message_page(status, title, lead, more)
}
