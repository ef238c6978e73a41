//! People log in by real identity providers.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

mod account;
mod conditions;
mod groups;
mod hydra;
mod logout;
mod oidc_provider;
mod openid_connect;
mod pages;
mod people;
mod refreshes;
mod saml;
mod samlp;
mod ssh;
