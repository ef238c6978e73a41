//! The pages, filled in.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use bowline_keys::{MachinePublic, NodePublic};
use bowline_proto::identity::v1::{
    BeginLoginAttemptResponse, FormField, ListLoginChoicesResponse, Login, LoginChoice,
    LoginPurpose, LoginState, User,
};

use url::Url;

use prost_types::Timestamp;

use crate::{
    account::ACCOUNT,
    failure::PageFailure,
    guard,
    texts::{ENGLISH, LoginWords, Texts},
};

/// What a device says of itself, as pages show it.
pub(crate) struct DeviceView {
    pub(crate) rows: Vec<(&'static str, String)>,
}

impl DeviceView {
    pub(crate) fn new(login: &Login, texts: &Texts) -> Self {
        let device = login.device.clone().unwrap_or_default();
        if let Some(ssh) = &login.ssh {
            let rows = vec![
                (texts.ssh_source, ssh.source_name.clone()),
                (texts.ssh_destination, ssh.destination_name.clone()),
                (texts.ssh_account, ssh.local_user.clone()),
                (texts.asked_at, asked_at_text(login)),
            ];
            return Self { rows };
        }
        if let Some(program) = &login.program {
            let rows = [
                (texts.user_code, program_code_text(&program.user_code)),
                (texts.program, program.name.clone()),
                (texts.client, program.user_agent.clone()),
                (texts.source, device.source_address),
                (texts.asked_at, asked_at_text(login)),
            ];
            return Self::of_known(rows);
        }
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
        Self::of_known(rows)
    }

    /// Returns the rows that have a value.
    fn of_known(rows: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let known = rows.into_iter().filter(|(_, value)| !value.is_empty());
        Self {
            rows: known.collect(),
        }
    }
}

/// Returns a program's code as people read it: `BCDF-GHJK`.
pub(crate) fn program_code_text(code: &str) -> String {
    match code.split_at_checked(4) {
        Some((first, rest)) => format!("{first}-{rest}"),
        None => code.to_owned(),
    }
}

/// Returns when a device asked.
pub(crate) fn asked_at_text(login: &Login) -> String {
    login
        .created_at
        .as_ref()
        .map_or_else(String::new, time_text)
}

/// Returns a time to the second: `2026-11-27 05:39:03 UTC`.
pub(crate) fn time_text(time: &Timestamp) -> String {
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
    words: &'a LoginWords,
    device: DeviceView,
    login_id: String,
    /// Whether a device or a connection waits; otherwise a browser does.
    is_device: bool,
    choices: Vec<LoginChoice>,
    needs_organisation: bool,
    organisation: &'a str,
    /// Whether an administrator can let the device in, since no provider can.
    shows_command: bool,
    /// The person who is signed in here and need not log in again; empty otherwise.
    signed_in_as: String,
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
#[template(path = "passkey.html")]
struct PasskeyPage<'a> {
    texts: &'a Texts,
    attempt_id: &'a str,
    options: &'a str,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    texts: &'a Texts,
    title: &'a str,
    lead: &'a str,
    more: &'a str,
    /// Whether there is a link to where people log in.
    leads_to_sign_in: bool,
}

pub(crate) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page can not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(crate) fn message_page(status: StatusCode, title: &str, lead: &str, more: &str) -> Response {
    let page = MessagePage {
        texts: &ENGLISH,
        title,
        lead,
        more,
        leads_to_sign_in: false,
    };
    render(status, &page)
}

/// Says that nobody is signed in any more, with a link to where people log in.
fn signed_out_page(status: StatusCode, title: &str, lead: &str) -> Response {
    let page = MessagePage {
        texts: &ENGLISH,
        title,
        lead,
        more: "",
        leads_to_sign_in: true,
    };
    render(status, &page)
}

/// Shows the device behind an auth URL, and how to log in.
pub(crate) fn choices_page(
    answer: ListLoginChoicesResponse,
    organisation: &str,
    takes_passkeys: bool,
) -> Result<Response, PageFailure> {
    let texts = &ENGLISH;
    let login = answer.login.ok_or(PageFailure::NotKnown)?;
    let words = texts.login_words(login.purpose());
    let ended = |title, lead| Ok(message_page(StatusCode::OK, title, lead, &login.denial));
    match login.state() {
        LoginState::Pending => {}
        LoginState::Approved if login.purpose() == LoginPurpose::Session => {
            return Ok(Redirect::to(ACCOUNT).into_response());
        }
        LoginState::Approved => return ended(words.approved_title, words.approved_lead),
        LoginState::Denied => return ended(words.denied_title, words.denied_lead),
        LoginState::Expired | LoginState::Unspecified => {
            return ended(texts.ended_title, words.ended_lead);
        }
    }
    let is_device = login.purpose() != LoginPurpose::Session;
    let mut choices = answer.choices;
    choices.retain(|choice| !choice.is_local || takes_passkeys);
    let has_provider = choices.iter().any(|choice| !choice.is_local);
    let page = ChoicesPage {
        texts,
        words,
        device: DeviceView::new(&login, texts),
        shows_command: login.purpose() == LoginPurpose::Unspecified
            && !answer.needs_organisation
            && !has_provider,
        login_id: login.id,
        choices,
        needs_organisation: answer.needs_organisation,
        organisation,
        is_device,
        signed_in_as: answer.signed_in_as,
    };
    Ok(render(StatusCode::OK, &page))
}

/// Sends the browser to a provider, in the way that the provider takes.
pub(crate) fn way_page(way: &BeginLoginAttemptResponse) -> Response {
    match (way.redirect_url.as_str(), way.post_fields.as_slice()) {
        // A passkey of this server.
        ("", []) if !way.passkey_options.is_empty() => {
            passkey_page(&way.attempt_id, &way.passkey_options)
        }
        // The person is known.
        ("", []) => Redirect::to(&format!("/login/{}", way.attempt_id)).into_response(),
        (url, []) => redirect_page(url),
        (url, fields) => post_page(url, fields),
    }
}

/// Sends the browser on. A redirect of the form itself would be subject to what this page allows forms.
pub(crate) fn redirect_page(url: &str) -> Response {
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

/// Returns a person's name with the login name.
pub(crate) fn person_text(user: &User) -> String {
    match user.display_name.as_str() {
        "" => user.login_name.clone(),
        name => format!("{name} ({})", user.login_name),
    }
}

/// Asks the browser for a passkey.
fn passkey_page(attempt_id: &str, options: &str) -> Response {
    let page = PasskeyPage {
        texts: &ENGLISH,
        attempt_id,
        options,
    };
    render(StatusCode::OK, &page)
}

impl PageFailure {
    /// Returns what went wrong, what to do, and more of it, in words.
    pub(crate) fn texts(&self) -> (&'static str, &str, &str) {
        let texts = &ENGLISH;
        match self {
            Self::OtherHost => (texts.host_title, texts.host_lead, ""),
            Self::OtherOrigin | Self::WrongToken => (texts.origin_title, texts.origin_lead, ""),
            Self::NoBrowser => (texts.browser_title, texts.browser_lead, ""),
            Self::NotKnown => (texts.not_known_title, texts.not_known_lead, ""),
            Self::Refused(words) => (texts.refused_title, words.as_str(), texts.refused_next),
            Self::NotAllowed => (texts.not_allowed_title, texts.not_allowed_lead, ""),
            Self::AwaitsApproval => (texts.approval_title, texts.approval_lead, ""),
            Self::Busy => (texts.busy_title, texts.busy_lead, ""),
            Self::Unavailable(problem) => (
                texts.unavailable_title,
                texts.unavailable_lead,
                problem.as_str(),
            ),
            Self::SignedOut => (texts.signed_out_title, texts.signed_out_lead, ""),
            Self::LinkUsed => (texts.link_used_title, texts.link_used_lead, ""),
        }
    }
}

/// Says that a provider has ended its session.
pub(crate) fn ended_page() -> Response {
    let texts = &ENGLISH;
    let (title, lead) = (texts.session_ended_title, texts.session_ended_lead);
    signed_out_page(StatusCode::OK, title, lead)
}

/// Says what went wrong and what to do.
pub(crate) fn failure_page(status: StatusCode, failure: &PageFailure) -> Response {
    let (title, lead, more) = failure.texts();
    match failure {
        PageFailure::SignedOut => signed_out_page(status, title, lead),
        _ => message_page(status, title, lead, more),
    }
}
