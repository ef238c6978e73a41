//! What a browser reaches: from an auth URL to a device, an SSH connection or a program that is let in.
//!
//! ```text
//! GET  /register/LOGIN      the device, and how to log in: providers, or the organisation first
//! POST /register/LOGIN      sends the browser to the chosen provider
//! GET  /login/callback      the browser is back from an OpenID Connect provider
//! POST /saml/acs            the browser brings the answer of a SAML provider, without a cookie, and is sent on to
//! GET  /login/ATTEMPT/continue   where it has one
//! GET  /saml/CONNECTION/metadata   what a SAML provider is told about this server
//! GET  /login/ATTEMPT       the device and the person, with two buttons
//! POST /login/ATTEMPT/step-up   sends the browser to the provider once more, for what conditions ask for
//! POST /login/ATTEMPT       the person lets the device in, or turns it away
//! GET  /login/ATTEMPT/unsolicited   a browser that a provider has sent without being asked; the person is asked next
//! POST /oauth/token         a program gets an access token, or its person's session: JSON, and no page
//! POST /oauth/device_authorization   a program at a terminal begins a login, and shows a code: JSON, and no page
//! GET  /device              a person types that code, and is led to the program's login
//! POST /oauth/revoke        a program gives its session back: no page
//! POST /logout/back-channel/CONNECTION   a provider says that somebody has logged out there: no page
//! GET  /scim/v2/Users       an identity provider keeps users and groups: JSON, and no page
//! GET  /invitation/SECRET   a link that lets one person in; POST uses it
//! GET  /admin               the person's devices and passkeys, behind a session, and for administrators what waits for them; below it
//!                           what can be done with them
//! ```
//!
//! It keeps no state: it turns HTTP into calls of identity, which decides. A browser is known by a secret in a cookie; what
//! changes anything is a POST from a page of this origin. The pages work without scripts, but for
//! passkeys, which browsers offer to scripts only.
//!
//! It is mounted in the gateway by what puts a process together, on the same origin as the clients' addresses.

mod account;
mod account_pages;
mod attempt_pages;
mod browser;
mod cookies;
mod failure;
mod guard;
mod invitation;
mod judgement;
mod limits;
mod login;
mod logout;
mod oauth;
mod pages;
mod passkey;
mod saml;
mod scim;
mod session;
mod start;
mod texts;
mod waiting_logins;
mod waiting_people;

pub use start::{PortalConfig, PortalUrlError, portal_routes};
