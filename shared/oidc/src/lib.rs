//! OpenID Connect, the side that relies on a provider: sends a person there, and checks what the provider says of the person.
//!
//! ```text
//! start_login ─▶ the URL a browser is sent to (state, nonce, PKCE challenge)
//!                 … the person proves who he or she is; the browser comes back with a code …
//! finish_login ─▶ code for tokens, checks of the ID token ─▶ ProviderIdentity
//! ```
//!
//! A provider also says when a person has logged out there (`check_logout_token`).
//!
//! What is kept between the two steps (state, nonce, verifier), who may log in, and which user that is, decides the caller.
//! Providers are asked through one [`HttpClient`](bowline_http_client::HttpClient) with its limits. What a provider
//! publishes of itself is kept for a while; a new signing key is fetched as soon as a token names it. A provider that can not
//! be asked is asked again after a few seconds, by one caller at a time.

mod claims;
mod error;
mod examine;
mod http;
mod id_token;
mod login;
mod logout;
mod logout_token;
mod provider;
mod pushed;
mod refresh;
mod types;
mod user_info;

pub use claims::{find_claim, is_kept_elsewhere};
pub use error::OidcError;
pub use examine::{ClientVerdict, try_client};
pub use login::{
    FinishRequest, FinishedLogin, LoginSecrets, ProviderIdentity, StartRequest, finish_login,
    start_login,
};
pub use logout::{
    BrowserLogoutRequest, ProviderLogoutRequest, check_logout_token, find_logout_url,
};
pub use logout_token::{LogoutTokenError, ProviderLogout};
pub use provider::{ClientRegistration, Providers};
pub use refresh::{RefreshError, RefreshRequest, RefreshedLogin, refresh_login};
