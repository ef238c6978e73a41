//! A link that lets one person in.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use bowline_proto::identity::v1::{
    AcceptInvitationRequest, GetInvitationRequest,
    invitation_service_client::InvitationServiceClient,
};
use bowline_service_kit::GrpcChannel;

use crate::{
    account::{ACCOUNT, Source, source_text},
    failure::PageFailure,
    login::Portals,
    pages::render,
    session::{describe_browser, set_cookie},
    start::Portal,
    texts::{ENGLISH, Texts},
};

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationPage<'a> {
    texts: &'a Texts,
    secret: &'a str,
    person: &'a str,
    network: &'a str,
}

/// Says whom a link is for. Opening it uses nothing up: programs that preview links open them too.
pub(crate) async fn get_invitation(State(portal): Portals, Path(secret): Path<String>) -> Response {
    let answer = async {
        let request = GetInvitationRequest {
            secret: secret.clone(),
        };
        let found = invitations(&portal).get_invitation(request).await;
        let found = found.map_err(link_failure)?.into_inner();
        let invitation = found.invitation.ok_or(PageFailure::LinkUsed)?;
        let page = InvitationPage {
            texts: &ENGLISH,
            secret: &secret,
            person: &invitation.login_name,
            network: &found.tailnet_name,
        };
        Ok(render(StatusCode::OK, &page))
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Uses a link up, and signs the person in.
pub(crate) async fn post_invitation(
    State(portal): Portals,
    source: Source,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let request = AcceptInvitationRequest {
            secret,
            description: Some(describe_browser(&headers, source_text(source))),
        };
        let accepted = invitations(&portal).accept_invitation(request).await;
        let accepted = accepted.map_err(link_failure)?.into_inner();
        let cookie = set_cookie(&accepted.secret, portal.is_https);
        let cookie = [(header::SET_COOKIE, cookie)];
        Ok((cookie, Redirect::to(ACCOUNT)).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// A link that is not known was used, or has ended.
fn link_failure(status: tonic::Status) -> PageFailure {
    match status.code() {
        tonic::Code::NotFound => PageFailure::LinkUsed,
        _ => status.into(),
    }
}

fn invitations(portal: &Portal) -> InvitationServiceClient<GrpcChannel> {
    InvitationServiceClient::new(portal.identity.clone())
}
