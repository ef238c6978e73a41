//! A person's own page, which clients link to: devices, passkeys, and for administrators the machines that wait.
//!
//! What it does with devices the registry decides, which is given the person's session, not the gateway's word.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{ConnectInfo, Form, Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use bowline_proto::{
    addresses::OIDC_CALLBACK,
    identity::v1::{
        CloseSessionRequest, DeleteOwnPasskeyRequest, EndOwnSessionRequest, ListOwnPasskeysRequest,
        ListOwnSessionsRequest, Passkey, Session, StartSessionLoginRequest,
        passkey_service_client::PasskeyServiceClient,
    },
    key_registry::v1::{
        ApproveNodeRequest, DeleteNodeRequest, ExpireNodeRequest, GetNodeRequest, ListNodesRequest,
        NodeWithState, RenameNodeRequest, node_service_client::NodeServiceClient,
    },
};
use bowline_service_kit::GrpcChannel;
use serde::Deserialize;

use crate::{
    account_pages::{self, OwnWays, WaitingThings},
    browser::Browser,
    failure::PageFailure,
    login::Portals,
    pages,
    session::{SignedIn, describe_browser, sessions, set_cookie},
    start::Portal,
    waiting_logins, waiting_people,
};

/// Where a person's page is.
pub(crate) const ACCOUNT: &str = "/admin";

/// Where a request comes from, as the gateway's listener knows it.
pub(crate) type Source = Option<Extension<ConnectInfo<SocketAddr>>>;

#[derive(Deserialize)]
pub(crate) struct TokenForm {
    token: String,
}

#[derive(Deserialize)]
pub(crate) struct DeviceForm {
    token: String,
    /// `rename`, `expire`, `delete` or `approve`.
    action: String,
    /// The new name.
    #[serde(default)]
    name: String,
}

/// Shows a person's devices and passkeys, or how to log in.
pub(crate) async fn get_account(State(portal): Portals, headers: HeaderMap) -> Response {
    let answer = async {
        let Some(person) = SignedIn::find(&portal, &headers).await? else {
            return Ok(account_pages::sign_in_page());
        };
        let devices = list_devices(&portal, &person).await?;
        let waiting = list_waiting_devices(&portal, &person).await?;
        let passkeys = list_passkeys(&portal, &person).await?;
        let waits = WaitingThings {
            devices: &waiting,
            people: &waiting_people::list_waiting(&portal, &person).await?,
            logins: &waiting_logins::list_waiting(&portal, &person).await,
        };
        let own = OwnWays {
            passkeys,
            sessions: list_sessions(&portal, &person).await?,
        };
        account_pages::account_page(&portal, &person, &devices, waits, own)
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Sends a browser to log in for a session.
pub(crate) async fn post_sign_in(
    State(portal): Portals,
    source: Source,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let browser = Browser::read_or_make(&headers, portal.is_https);
        let request = StartSessionLoginRequest {
            browser: browser.hash(),
            description: Some(describe_browser(&headers, source_text(source))),
        };
        let started = sessions(&portal).start_session_login(request).await?;
        let login = started.into_inner().login.ok_or(PageFailure::NotKnown)?;
        let cookie = [(header::SET_COOKIE, browser.cookie(portal.is_https))];
        let onward = Redirect::to(&format!("/register/{}", login.id));
        Ok((cookie, onward).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Ends the session.
pub(crate) async fn post_sign_out(
    State(portal): Portals,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&form.token)?;
        let request = CloseSessionRequest {
            secret: person.secret.to_string(),
            callback_url: format!("{}{OIDC_CALLBACK}", portal.origin),
        };
        let closed = sessions(&portal).close_session(request).await?.into_inner();
        let cookie = [(header::SET_COOKIE, set_cookie("", portal.is_https))];
        Ok(match closed.provider_url.as_str() {
            "" => (cookie, Redirect::to(ACCOUNT)).into_response(),
            url => (cookie, pages::redirect_page(url)).into_response(),
        })
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Shows one device, and what can be done with it.
pub(crate) async fn get_device(
    State(portal): Portals,
    Path(device): Path<u64>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        let request = GetNodeRequest {
            tailnet_id: person.tailnet_id(),
            node_id: device,
        };
        let found = nodes(&portal).get_node(person.authorize(request)).await?;
        let node = found.into_inner().node.ok_or(PageFailure::NotKnown)?;
        account_pages::device_page(&person, &node)
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Does something with a device.
pub(crate) async fn post_device(
    State(portal): Portals,
    Path(device): Path<u64>,
    headers: HeaderMap,
    Form(form): Form<DeviceForm>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&form.token)?;
        let (tailnet_id, node_id) = (person.tailnet_id(), device);
        let mut nodes = nodes(&portal);
        let device_page = format!("{ACCOUNT}/devices/{device}");
        let next = match form.action.as_str() {
            "rename" => {
                let request = RenameNodeRequest {
                    tailnet_id,
                    node_id,
                    name: form.name.trim().to_lowercase(),
                };
                nodes.rename_node(person.authorize(request)).await?;
                &*device_page
            }
            "expire" => {
                let request = ExpireNodeRequest {
                    tailnet_id,
                    node_id,
                };
                nodes.expire_node(person.authorize(request)).await?;
                &*device_page
            }
            "delete" => {
                let request = DeleteNodeRequest {
                    tailnet_id,
                    node_id,
                };
                nodes.delete_node(person.authorize(request)).await?;
                ACCOUNT
            }
            "approve" => {
                let request = ApproveNodeRequest {
                    tailnet_id,
                    node_id,
                };
                nodes.approve_node(person.authorize(request)).await?;
                ACCOUNT
            }
            _ => return Err(PageFailure::NotKnown),
        };
        Ok(Redirect::to(next).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Removes a passkey.
pub(crate) async fn post_passkey_removal(
    State(portal): Portals,
    Path(passkey_id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&form.token)?;
        let request = DeleteOwnPasskeyRequest {
            session_secret: person.secret.to_string(),
            passkey_id,
        };
        passkeys(&portal).delete_own_passkey(request).await?;
        Ok(Redirect::to(ACCOUNT).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Ends a session of the person's: of another browser, or of a program.
pub(crate) async fn post_session_end(
    State(portal): Portals,
    Path(session_id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&form.token)?;
        let request = EndOwnSessionRequest {
            session_secret: person.secret.to_string(),
            session_id,
        };
        sessions(&portal).end_own_session(request).await?;
        Ok(Redirect::to(ACCOUNT).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

/// Returns the person's sessions but for this one.
async fn list_sessions(portal: &Portal, person: &SignedIn) -> Result<Vec<Session>, PageFailure> {
    let request = ListOwnSessionsRequest {
        session_secret: person.secret.to_string(),
    };
    let answer = sessions(portal).list_own_sessions(request).await?;
    let mut listed = answer.into_inner().sessions;
    let own = person.found.session.as_ref();
    listed.retain(|session| own.is_none_or(|own| own.id != session.id));
    Ok(listed)
}

/// Returns the person's own devices.
async fn list_devices(
    portal: &Portal,
    person: &SignedIn,
) -> Result<Vec<NodeWithState>, PageFailure> {
    let user = person.found.user.as_ref().ok_or(PageFailure::NotKnown)?;
    let request = ListNodesRequest {
        tailnet_id: person.tailnet_id(),
        user_id: user.id,
        awaits_approval: false,
    };
    let answer = nodes(portal).list_nodes(person.authorize(request)).await?;
    let mut found = answer.into_inner().nodes;
    // Tagged ones are nobody's own.
    found.retain(|one| one.node.as_ref().and_then(|node| node.owning_user()) == Some(user.id));
    Ok(found)
}

/// Returns the devices that wait for an administrator; none, unless the person is one.
async fn list_waiting_devices(
    portal: &Portal,
    person: &SignedIn,
) -> Result<Vec<NodeWithState>, PageFailure> {
    if !person.administers() {
        return Ok(Vec::new());
    }
    let request = ListNodesRequest {
        tailnet_id: person.tailnet_id(),
        user_id: 0,
        awaits_approval: true,
    };
    let answer = nodes(portal).list_nodes(person.authorize(request)).await?;
    Ok(answer.into_inner().nodes)
}

async fn list_passkeys(portal: &Portal, person: &SignedIn) -> Result<Vec<Passkey>, PageFailure> {
    let request = ListOwnPasskeysRequest {
        session_secret: person.secret.to_string(),
    };
    let answer = passkeys(portal).list_own_passkeys(request).await?;
    Ok(answer.into_inner().passkeys)
}

fn nodes(portal: &Portal) -> NodeServiceClient<GrpcChannel> {
    NodeServiceClient::new(portal.registry.clone())
}

pub(crate) fn passkeys(portal: &Portal) -> PasskeyServiceClient<GrpcChannel> {
    PasskeyServiceClient::new(portal.identity.clone())
}

/// Returns the address a request comes from; empty where it is not known.
pub(crate) fn source_text(source: Source) -> String {
    source.map_or_else(String::new, |Extension(ConnectInfo(address))| {
        address_text(address)
    })
}

/// Returns an address as it is shown and counted.
pub(crate) fn address_text(address: SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}
