//! Who may call which RPC, as declared in the `.proto` files, and what a token may do.
//!
//! | caller | proven by | decided by |
//! |---|---|---|
//! | a service | its certificate | [`RpcRule::callers`] |
//! | an operator | a certificate, or the admin socket | [`RpcRule::callers`] |
//! | a person or program of a tailnet | a token, see [`Principal`] | [`RpcRule::tokens`], and [`decisions`] where fields matter |
//!
//! A token acts in one tailnet. Its requests pass [`RpcRule::name_tailnet`], which refuses another one before the RPC runs.

pub mod decisions;
mod principal;
mod scope;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::{DecodeError, Message};

pub use crate::identity::v1::Role;
pub use principal::{CredentialKind, Denial, Principal, Reach, TokenBearer};
pub use scope::{Area, Scope, Scopes, UnknownScope};

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerKind {
    /// A person or a program that administers all of Bowline.
    Admin,
    /// The netmap-gateway service.
    Gateway,
    /// The key-registry service.
    KeyRegistry,
    /// The identity service.
    Identity,
    /// The policy-compiler service.
    PolicyCompiler,
    /// The relay service.
    Relay,
}

/// Who may call one RPC.
#[derive(Clone, Copy, Debug)]
pub struct RpcRule {
    /// The path, such as `/bowline.identity.v1.UserService/ListUsers`.
    pub path: &'static str,
    /// The kinds of caller, proven otherwise than by a token.
    pub callers: &'static [CallerKind],
    /// The tokens; one that fits is enough. Empty: none.
    pub tokens: &'static [TokenRule],
    /// Which tailnet a request of the RPC names; there is one for each RPC that serves tokens.
    pub name_tailnet: Option<NameTailnet>,
    /// Whether it may change something.
    pub changes_state: bool,
}

/// The metadata that names a call of an administrator, so that it is done once however often it is sent. It is the field of
/// that name in HTTP; the `request_id` of logs is another thing.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Tells whether a text can be an [`IDEMPOTENCY_KEY`]: one of 16 to 64 printable characters, for shorter ones can be guessed.
#[must_use]
pub fn is_idempotency_key(text: &[u8]) -> bool {
    (16..=64).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

impl RpcRule {
    /// Tells whether a call may have an [`IDEMPOTENCY_KEY`]: it changes something, and administrators may make it.
    #[must_use]
    pub fn takes_idempotency_key(&self) -> bool {
        self.changes_state && self.callers.contains(&CallerKind::Admin)
    }
}

/// Which tokens may call an RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRule {
    /// What the token has to be for; `None`: for whatever it is.
    pub scope: Option<Scope>,
    /// The roles of users who may.
    pub roles: &'static [Role],
    /// Whether every other user may, for what is his or her own.
    pub own: bool,
}

/// Reads an encoded request, puts a tailnet where it names none, and returns the tailnet it names then. The second is the
/// request where it was changed.
pub type NameTailnet = fn(&[u8], u64) -> Result<(u64, Option<Vec<u8>>), DecodeError>;

/// Carries out a [`NameTailnet`] for a request whose tailnet stands in `field`.
fn fill_tailnet<M: Message + Default>(
    encoded: &[u8],
    own: u64,
    field: impl FnOnce(&mut M) -> &mut u64,
) -> Result<(u64, Option<Vec<u8>>), DecodeError> {
    let mut request = M::decode(encoded)?;
    let named = field(&mut request);
    if *named != 0 {
        return Ok((*named, None));
    }
    *named = own;
    Ok((own, Some(request.encode_to_vec())))
}

include!(concat!(env!("OUT_DIR"), "/access.rs"));

/// Returns the rule of each RPC.
///
/// The build fails on an RPC without a declaration, so every RPC of every service is here.
#[must_use]
pub fn rules() -> &'static [RpcRule] {
    RULES
}

/// Returns the rule of an RPC.
#[must_use]
pub fn find_rule(path: &str) -> Option<&'static RpcRule> {
    static BY_PATH: LazyLock<BTreeMap<&'static str, &'static RpcRule>> =
        LazyLock::new(|| RULES.iter().map(|rule| (rule.path, rule)).collect());
    BY_PATH.get(path).copied()
}

#[cfg(test)]
mod tests;
