//! People who log in by a real identity provider: the services and the portal in one process, a private Keycloak, and
//! browsers. A browser here has no scripts, as the pages need none.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails where something is not as expected"
)]

mod browser;
mod curl;
mod hydra_admin;
mod hydra_hook;
mod keycloak_admin;
mod organisation;
mod portal;
mod saml;
mod second_factor;

pub use browser::{Page, TestBrowser};
pub use hydra_admin::{HydraAdmin, HydraPerson};
pub use hydra_hook::HydraRefreshHook;
pub use keycloak_admin::{KeycloakAdmin, SAML_CLASSES};
pub use organisation::{REALM, TestOrganisation};
pub use portal::start_portal;
pub use saml::{SamlForm, saml_provider};
pub use second_factor::{OTP_SECRET, one_time_code};
