//! The pages of one attempt to log in, once the provider has answered.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use bowline_proto::identity::v1::{
    Login, LoginAttempt, LoginAttemptState, LoginPurpose, LoginState,
};

use crate::{
    account::ACCOUNT,
    failure::PageFailure,
    judgement::DeviceJudgement,
    pages::{DeviceView, message_page, person_text, render},
    texts::{ENGLISH, LoginWords, Texts},
};

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
    words: &'a LoginWords,
    device: DeviceView,
    attempt_id: String,
    token: String,
    person: String,
    network: String,
    provider: String,
    /// The tags that the person may not give: then there is no button that lets the device in.
    refused_tags: String,
    waiting_routes: String,
}

#[derive(Template)]
#[template(path = "unsolicited.html")]
struct UnsolicitedPage<'a> {
    texts: &'a Texts,
    attempt_id: String,
    token: String,
    person: String,
    login_name: String,
    network: String,
    provider: String,
}

/// Shows the device and the person, or what was decided.
pub(crate) fn attempt_page(
    attempt: LoginAttempt,
    judgement: &DeviceJudgement,
    token: String,
) -> Result<Response, PageFailure> {
    let texts = &ENGLISH;
    let purpose = attempt.login.as_ref().map(Login::purpose);
    let words = texts.login_words(purpose.unwrap_or_default());
    let message = |title, lead| Ok(message_page(StatusCode::OK, title, lead, ""));
    let is_session = purpose == Some(LoginPurpose::Session);
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
        LoginAttemptState::Approved if is_session => {
            return Ok(Redirect::to(ACCOUNT).into_response());
        }
        LoginAttemptState::Denied if is_session => {
            return message(texts.turned_away_title, texts.turned_away_lead);
        }
        LoginAttemptState::Approved => return message(words.approved_title, words.approved_lead),
        LoginAttemptState::Denied => return message(words.denied_title, words.denied_lead),
        LoginAttemptState::Sent | LoginAttemptState::Answered | LoginAttemptState::Unspecified => {
            return Err(PageFailure::NotKnown);
        }
    }
    let login = attempt.login.ok_or(PageFailure::NotKnown)?;
    let user = attempt.user.ok_or(PageFailure::NotKnown)?;
    match login.state() {
        LoginState::Pending => {}
        _ => return message(texts.ended_title, words.ended_lead),
    }
    if is_session {
        let page = UnsolicitedPage {
            texts,
            attempt_id: attempt.id,
            token,
            person: person_text(&user),
            login_name: user.login_name,
            network: attempt.tailnet_name,
            provider: attempt.connection_name,
        };
        return Ok(render(StatusCode::OK, &page));
    }
    let page = ConfirmPage {
        texts,
        words,
        device: DeviceView::new(&login, texts),
        attempt_id: attempt.id,
        token,
        person: person_text(&user),
        network: attempt.tailnet_name,
        provider: attempt.connection_name,
        refused_tags: judgement.refused_tags.join(", "),
        waiting_routes: judgement.waiting_routes.join(", "),
    };
    Ok(render(StatusCode::OK, &page))
}
