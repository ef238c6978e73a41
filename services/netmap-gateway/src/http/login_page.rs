//! The page behind an auth URL: shows the device and how it is approved, and approves nothing itself.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use bowline_ids::LoginId;
use bowline_keys::{MachinePublic, NodePublic};
use bowline_proto::identity::v1::{
    GetLoginRequest, Login, LoginState, login_service_client::LoginServiceClient,
};

use crate::gateway::Gateway;

/// Shows a login.
pub(super) async fn get_login(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Response {
    let (status, text) = match id.parse::<LoginId>() {
        Ok(id) => find_login(&gateway, id).await,
        Err(_) => not_known(),
    };
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Html(text)).into_response()
}

async fn find_login(gateway: &Gateway, id: LoginId) -> (StatusCode, String) {
    let mut client = LoginServiceClient::new(gateway.backends.identity.clone());
    match client
        .get_login(GetLoginRequest {
            login_id: id.to_string(),
        })
        .await
    {
        Ok(answer) => match answer.into_inner().login {
            Some(login) => match login_page_body(&login) {
                Some(body) => (StatusCode::OK, body),
                None => not_available(),
            },
            None => not_known(),
        },
        Err(status) if status.code() == tonic::Code::NotFound => not_known(),
        Err(_) => not_available(),
    }
}

fn not_available() -> (StatusCode, String) {
    let text = "<p>The server can not look this up at the moment. Try again in a few seconds.</p>";
    let page = page_frame("Try again", text);
    (StatusCode::SERVICE_UNAVAILABLE, page)
}

fn not_known() -> (StatusCode, String) {
    let text = "<p>This address is not known, or no longer. Run <code>tailscale up</code> on the device again for a new one.</p>";
    (StatusCode::NOT_FOUND, page_frame("Not found", text))
}

/// Returns the page of a login; `None` when a key in it can not be read, so that nobody decides by a wrong key.
fn login_page_body(login: &Login) -> Option<String> {
    // A device may describe nothing of itself.
    let device = login.device.clone().unwrap_or_default();
    let machine = MachinePublic::try_from(&*login.machine_key).ok()?;
    let node = NodePublic::try_from(&*login.node_key).ok()?;
    let rows = [
        ("Device", device.hostname),
        ("System", device.os),
        ("Client", device.client_version),
        ("From", device.source_address),
        ("Machine key", format!("{machine:?}")),
        ("Node key", format!("{node:?}")),
    ];
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>", escape_html(value)))
        .collect();
    let (title, what) = match login.state() {
        LoginState::Pending => (
            "A device wants to join",
            format!(
                "<p>An administrator adds it for a user with this command, on the machine where Bowline runs:</p>\
                 <pre>bowline logins approve {} --user NAME</pre>\
                 <p>Check that the device above is the one in front of you. Opening this page approves nothing.</p>",
                escape_html(&login.id)
            ),
        ),
        LoginState::Approved => (
            "Approved",
            "<p>The device may join. You can close this page.</p>".to_owned(),
        ),
        LoginState::Denied => ("Denied", format!("<p>{}</p>", escape_html(&login.denial))),
        LoginState::Expired | LoginState::Unspecified => (
            "Too late",
            "<p>Nobody decided in time. Run <code>tailscale up</code> on the device again.</p>"
                .to_owned(),
        ),
    };
    let body = format!("<table>{rows}</table>{what}");
    Some(page_frame(title, &body))
}

fn page_frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} · Bowline</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:4rem auto;padding:0 1rem;color:#1b1b1f}}\
         th{{text-align:left;padding:.2rem 1.5rem .2rem 0;font-weight:500;color:#666}}\
         pre{{background:#f3f3f6;padding:.8rem 1rem;border-radius:.4rem;overflow-x:auto}}</style>\
         <h1>{title}</h1>{body}</html>"
    )
}

fn escape_html(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
