//! Who acts by a token.

use std::fmt;

use super::{Role, RpcRule, Scopes, UnknownScope};
use crate::identity::v1::{TokenHolder, TokenKind};

/// The person or program that a token stands for, as things are when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The one tailnet it acts in.
    pub tailnet_id: u64,
    /// Whose it is.
    pub holder: TokenBearer,
    /// What it is for.
    pub scopes: Scopes,
    /// What kind of token it is.
    pub credential: CredentialKind,
    /// The token's id, which is no secret. Of an access token: the client's.
    pub credential_id: String,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenBearer {
    /// A user's. It does no more than its user may when it is used.
    User {
        /// The number.
        id: u64,
        /// The name.
        login_name: String,
        /// The role.
        role: Role,
    },
    /// A program's, of the tailnet itself: its scopes alone say what it may.
    Client {
        /// The tags that it may give devices.
        tags: Vec<String>,
    },
}

/// What kind of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialKind {
    /// A user's API key.
    ApiKey,
    /// What an OAuth client was given for an hour.
    AccessToken,
    /// A browser session.
    Session,
}

impl CredentialKind {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::AccessToken => "oauth-client",
            Self::Session => "session",
        }
    }
}

/// How far a call reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything in the tailnet.
    Tailnet,
    /// What is the user's own.
    Own,
}

/// Why a token may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// Only operators may.
    #[error(
        "no token may call this: it is for operators, by the admin socket or a client certificate"
    )]
    OperatorsOnly,
    /// The role is not enough.
    #[error("the role {0} may not do this")]
    Role(&'static str),
    /// The scopes are not enough.
    #[error("the token is for {has}, and this needs {needed}")]
    Scope {
        /// What it is for.
        has: Scopes,
        /// What is needed.
        needed: Scopes,
    },
    /// Fields of the request ask for what the caller may not do.
    #[error("{0}")]
    Field(String),
}

impl TryFrom<TokenHolder> for Principal {
    type Error = UnknownScope;

    fn try_from(holder: TokenHolder) -> Result<Self, UnknownScope> {
        // Of a kind that a later release knows it is named as what says least.
        let credential = match holder.kind() {
            TokenKind::ApiKey => CredentialKind::ApiKey,
            TokenKind::AccessToken => CredentialKind::AccessToken,
            TokenKind::Session | TokenKind::Unspecified => CredentialKind::Session,
        };
        Ok(Self {
            tailnet_id: holder.tailnet_id,
            scopes: Scopes::parse(holder.scopes.iter().map(String::as_str))?,
            credential,
            credential_id: holder.credential_id,
            holder: match holder.user {
                Some(user) => TokenBearer::User {
                    id: user.id,
                    role: user.role(),
                    login_name: user.login_name,
                },
                None => TokenBearer::Client { tags: holder.tags },
            },
        })
    }
}

impl Principal {
    /// Decides whether it may make a call of an RPC, and how far that reaches.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check_call(&self, rule: &RpcRule) -> Result<Reach, Denial> {
        let mut needed = Vec::new();
        let mut reach = None;
        for token in rule.tokens {
            match token.scope {
                Some(scope) if !self.scopes.include(scope) => {
                    needed.push(scope);
                    continue;
                }
                _ => {}
            }
            match self.role() {
                None => return Ok(Reach::Tailnet),
                Some(role) if token.roles.contains(&role) => return Ok(Reach::Tailnet),
                Some(_) if token.own => reach = Some(Reach::Own),
                Some(_) => {}
            }
        }
        match (reach, self.role()) {
            (Some(reach), _) => Ok(reach),
            _ if rule.tokens.is_empty() => Err(Denial::OperatorsOnly),
            _ if needed.len() == rule.tokens.len() => Err(Denial::Scope {
                has: self.scopes.clone(),
                needed: Scopes::new(needed),
            }),
            (None, role) => Err(Denial::Role(role.map_or("", role_name))),
        }
    }

    /// Returns the role; a program has none.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self.holder {
            TokenBearer::User { role, .. } => Some(role),
            TokenBearer::Client { .. } => None,
        }
    }

    /// Returns the user's number.
    #[must_use]
    pub fn user_id(&self) -> Option<u64> {
        match self.holder {
            TokenBearer::User { id, .. } => Some(id),
            TokenBearer::Client { .. } => None,
        }
    }
}

/// As audit trails name who acted.
impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = (self.credential.as_str(), &self.credential_id);
        match &self.holder {
            TokenBearer::User { login_name, .. } => {
                write!(formatter, "user:{login_name}/{kind}:{id}")
            }
            TokenBearer::Client { .. } => write!(formatter, "{kind}:{id}"),
        }
    }
}

/// Returns a role as people write it.
#[must_use]
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Unspecified | Role::Member => "member",
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::ItAdmin => "it-admin",
        Role::NetworkAdmin => "network-admin",
        Role::BillingAdmin => "billing-admin",
        Role::Auditor => "auditor",
    }
}
