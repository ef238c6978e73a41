//! What a SAML provider and the browsers it sends back ask for.

use axum::{
    extract::{Form, Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use bowline_proto::identity::v1::{
    FinishSamlLoginRequest, GetSamlMetadataRequest, TakeSamlResponseRequest,
};
use serde::Deserialize;

use crate::{
    account::{Source, source_text},
    browser::Browser,
    failure::PageFailure,
    login::{Portals, attempts, read_id},
    session::describe_browser,
    start::Portal,
};

#[derive(Deserialize)]
pub(crate) struct ConsumerForm {
    #[serde(rename = "SAMLResponse", default)]
    saml_response: String,
    #[serde(rename = "RelayState", default)]
    relay_state: String,
}

/// Returns what the provider of a connection is told about this server.
pub(crate) async fn get_metadata(State(portal): Portals, Path(connection): Path<u64>) -> Response {
    let answer = async {
        let request = GetSamlMetadataRequest {
            connection_id: connection,
            origin: portal.origin.clone(),
        };
        let answer = attempts(&portal).get_saml_metadata(request).await?;
        let kind = [(header::CONTENT_TYPE, "application/samlmetadata+xml")];
        Ok((kind, answer.into_inner().xml).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Takes what a browser posts from a provider. The provider's page is of another site, so that the browser sends no cookie:
/// it is sent on to a page where it does.
pub(crate) async fn post_answer(
    State(portal): Portals,
    source: Source,
    headers: HeaderMap,
    Form(form): Form<ConsumerForm>,
) -> Response {
    let answer = async {
        let request = TakeSamlResponseRequest {
            relay_state: form.relay_state,
            saml_response: form.saml_response,
            origin: portal.origin.clone(),
            description: Some(describe_browser(&headers, source_text(source))),
        };
        let taken = attempts(&portal).take_saml_response(request).await?;
        let taken = taken.into_inner();
        let next = match taken.is_unsolicited {
            true => "unsolicited",
            false => "continue",
        };
        let place = format!("/login/{}/{next}", taken.attempt_id);
        Ok(Redirect::to(&place).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Goes on with the provider's answer, in the browser that began the attempt.
pub(crate) async fn get_continue(
    State(portal): Portals,
    Path(attempt): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let browser = Browser::read(&headers, portal.is_https)?;
        finish_login(&portal, &browser, &attempt).await
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Goes on with an answer that this server has not asked for, in the first browser that comes for it.
pub(crate) async fn get_unsolicited(
    State(portal): Portals,
    Path(attempt): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let browser = Browser::read_or_make(&headers, portal.is_https);
        let onward = finish_login(&portal, &browser, &attempt).await?;
        let cookie = [(header::SET_COOKIE, browser.cookie(portal.is_https))];
        Ok((cookie, onward).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

async fn finish_login(
    portal: &Portal,
    browser: &Browser,
    attempt: &str,
) -> Result<Response, PageFailure> {
    let request = FinishSamlLoginRequest {
        attempt_id: read_id(attempt)?,
        browser: browser.hash(),
    };
    let answer = attempts(portal).finish_saml_login(request).await?;
    let attempt = answer.into_inner().attempt.ok_or(PageFailure::NotKnown)?;
    Ok(Redirect::to(&format!("/login/{}", attempt.id)).into_response())
}
