//! The addresses of the portal.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::header,
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use bowline_proto::addresses::{OIDC_CALLBACK, SAML_CONSUMER};
use bowline_service_kit::GrpcChannel;
use url::Url;

use crate::{
    account::{self, ACCOUNT},
    guard, invitation,
    limits::{FailureLimits, SecretLimits},
    login, logout,
    oauth::{self, OAUTH_TURNS, PROGRAM_TURNS},
    passkey, saml,
    scim::{SCIM_TURNS, scim_routes},
    waiting_logins, waiting_people,
};

/// The longest form, in bytes.
const LONGEST_FORM: usize = 8 << 10;
/// The longest answer of a SAML provider as a form: identity reads 256 KiB of XML, in base64 and with escapes.
const LONGEST_ANSWER: usize = 512 << 10;

/// What the portal is given.
#[derive(Clone, Debug)]
pub struct PortalConfig {
    /// The URL that browsers reach this origin by: scheme, host and port.
    pub public_url: String,
    /// Identity.
    pub identity: GrpcChannel,
    /// The key registry.
    pub registry: GrpcChannel,
    /// The policy compiler.
    pub compiler: GrpcChannel,
}

/// The URL is none that a browser can be sent to.
#[derive(Debug, thiserror::Error)]
#[error("public_url {0:?} is no URL for browsers, such as https://bowline.example.com")]
pub struct PortalUrlError(String);

/// What every page needs.
#[derive(Debug)]
pub(crate) struct Portal {
    /// Scheme, host and port, without a slash at the end.
    pub(crate) origin: String,
    /// Host and port as browsers write them.
    pub(crate) host: String,
    /// Whether browsers come by TLS.
    pub(crate) is_https: bool,
    /// Whether browsers make passkeys for this origin.
    pub(crate) takes_passkeys: bool,
    pub(crate) identity: GrpcChannel,
    /// How often OAuth clients may ask.
    pub(crate) oauth_limits: SecretLimits,
    /// How often programs at a terminal may ask for their session.
    pub(crate) program_limits: SecretLimits,
    /// How often a program's code may be mistyped.
    pub(crate) code_limits: FailureLimits,
    /// How often the token of no session may be given back.
    pub(crate) revocation_limits: FailureLimits,
    /// How often identity providers may ask.
    pub(crate) scim_limits: SecretLimits,
    pub(crate) registry: GrpcChannel,
    /// How often logout tokens may be wrong.
    pub(crate) logout_limits: FailureLimits,
    pub(crate) compiler: GrpcChannel,
}

impl Portal {
    fn new(config: PortalConfig) -> Result<Self, PortalUrlError> {
        let url: Url = match config.public_url.parse() {
            Ok(url) => url,
            Err(_) => return Err(PortalUrlError(config.public_url)),
        };
        let Some(host) = url.host_str() else {
            return Err(PortalUrlError(config.public_url));
        };
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            origin: format!("{}://{host}", url.scheme()),
            host,
            is_https: url.scheme() == "https",
            takes_passkeys: takes_passkeys(&url),
            identity: config.identity,
            oauth_limits: SecretLimits::new(OAUTH_TURNS),
            program_limits: SecretLimits::new(PROGRAM_TURNS),
            code_limits: FailureLimits::default(),
            revocation_limits: FailureLimits::default(),
            scim_limits: SecretLimits::new(SCIM_TURNS),
            registry: config.registry,
            logout_limits: FailureLimits::default(),
            compiler: config.compiler,
        })
    }
}

/// Returns the routes, to be merged into those of the gateway.
///
/// # Errors
///
/// When `public_url` has no host.
pub fn portal_routes(config: PortalConfig) -> Result<Router, PortalUrlError> {
    let portal = Arc::new(Portal::new(config)?);
    let scim = scim_routes(&portal);
    let routes = Router::new()
        .route(
            "/register/{login}",
            get(login::get_choices).post(login::post_choice),
        )
        .route(OIDC_CALLBACK, get(login::get_callback))
        .route(
            SAML_CONSUMER,
            post(saml::post_answer).layer(DefaultBodyLimit::max(LONGEST_ANSWER)),
        )
        .route("/saml/{connection}/metadata", get(saml::get_metadata))
        .route("/login/{attempt}/continue", get(saml::get_continue))
        .route("/login/{attempt}/unsolicited", get(saml::get_unsolicited))
        .route(
            "/login/{attempt}",
            get(login::get_attempt).post(login::post_decision),
        )
        .route("/login/{attempt}/step-up", post(login::post_step_up))
        .route(
            "/logout/back-channel/{connection}",
            post(logout::post_back_channel),
        )
        .route("/oauth/token", post(oauth::post_token))
        .route(
            "/oauth/device_authorization",
            post(oauth::post_device_authorization),
        )
        .route("/oauth/revoke", post(oauth::post_revocation))
        .route("/device", get(oauth::get_program))
        .route("/login/{attempt}/passkey", post(login::post_passkey))
        .route(
            "/invitation/{secret}",
            get(invitation::get_invitation).post(invitation::post_invitation),
        )
        .route(ACCOUNT, get(account::get_account))
        .route("/admin/sign-in", post(account::post_sign_in))
        .route("/admin/sign-out", post(account::post_sign_out))
        .route(
            "/admin/devices/{device}",
            get(account::get_device).post(account::post_device),
        )
        .route(
            "/admin/logins/{login}",
            get(waiting_logins::get_login).post(waiting_logins::post_login),
        )
        .route("/admin/people/{user}", post(waiting_people::post_person))
        .route("/admin/sessions/{session}", post(account::post_session_end))
        .route("/admin/passkeys/begin", post(passkey::post_begin))
        .route("/admin/passkeys/finish", post(passkey::post_finish))
        .route(
            "/admin/passkeys/{passkey}/remove",
            post(account::post_passkey_removal),
        )
        .route("/portal.css", get(get_stylesheet))
        .route("/portal.js", get(get_script))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&portal),
            guard::check_request,
        ))
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
        .with_state(portal);
    Ok(routes.merge(scim))
}

/// Says whether browsers make passkeys for an origin: one with a host name, and TLS unless it is this machine's own.
fn takes_passkeys(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => url.scheme() == "https" || name == "localhost",
        _ => false,
    }
}

async fn get_script() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, include_str!("../static/portal.js"))
}

async fn get_stylesheet() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, include_str!("../static/portal.css"))
}
