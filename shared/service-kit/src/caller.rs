//! Who is calling, proven by a client certificate, by the admin socket, or by sharing the process.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bowline_proto::access::{CallerKind, Denial, Principal, Reach};
use tonic::Status;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate's URI starts with.
const TRUST_DOMAIN: &str = "spiffe://bowline/";

/// The longest name of an administrator.
const LONGEST_NAME: usize = 64;

/// A service of Bowline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceName {
    /// Who is behind a login.
    Identity,
    /// Which keys exist.
    KeyRegistry,
    /// What clients are told.
    NetmapGateway,
    /// What the policy means.
    PolicyCompiler,
    /// Packets for clients that can not reach each other.
    Relay,
}

/// A name that is no service's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no service; known are identity, key-registry, netmap-gateway, policy-compiler, relay"
)]
pub struct UnknownService(pub String);

impl ServiceName {
    /// All services.
    pub const ALL: [Self; 5] = [
        Self::Identity,
        Self::KeyRegistry,
        Self::NetmapGateway,
        Self::PolicyCompiler,
        Self::Relay,
    ];

    /// Returns the name, as in folders, certificates and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::KeyRegistry => "key-registry",
            Self::NetmapGateway => "netmap-gateway",
            Self::PolicyCompiler => "policy-compiler",
            Self::Relay => "relay",
        }
    }

    /// Returns the host name in the service's certificate, whatever address it is reached at.
    #[must_use]
    pub fn host_name(self) -> String {
        format!("{self}.bowline.internal")
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for ServiceName {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, UnknownService> {
        let found = Self::ALL
            .into_iter()
            .find(|service| service.as_str() == name);
        found.ok_or_else(|| UnknownService(name.to_owned()))
    }
}

/// Who is calling. Handlers find it with [`Caller::of`]; its text form names it in audit trails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person or a program that administers Bowline.
    Admin {
        /// The name in the certificate, or the account at the other end of the socket.
        name: String,
    },
    /// A service.
    Service(ServiceName),
    /// A person or a program of one tailnet, by a token. The tailnet that the request names is this one.
    Token(TokenCaller),
}

/// A caller by a token, and how far the call reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCaller {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Whether the call is about everything in the tailnet, or about what is the user's own.
    pub reach: Reach,
}

impl Caller {
    /// Returns the caller of a request, which [`AccessRules`](crate::AccessRules) has proven.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` when the request did not pass there.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Self, Status> {
        request
            .extensions()
            .get()
            .ok_or_else(|| Status::unauthenticated("the caller is not known"))
    }

    /// Returns what RPC declarations call this kind of caller; `None` for one by a token, which they describe otherwise.
    #[must_use]
    pub fn kind(&self) -> Option<CallerKind> {
        Some(match self {
            Self::Token(_) => return None,
            Self::Admin { .. } => CallerKind::Admin,
            Self::Service(ServiceName::Identity) => CallerKind::Identity,
            Self::Service(ServiceName::KeyRegistry) => CallerKind::KeyRegistry,
            Self::Service(ServiceName::NetmapGateway) => CallerKind::Gateway,
            Self::Service(ServiceName::PolicyCompiler) => CallerKind::PolicyCompiler,
            Self::Service(ServiceName::Relay) => CallerKind::Relay,
        })
    }

    /// Returns who acts by a token, whom a decision about fields is asked of; `None` for operators and services, who may do
    /// what the RPC is for.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Token(token) => Some(&token.principal),
            _ => None,
        }
    }

    /// Returns the user whose own things alone a call may be about; `None`: it may be about all of the tailnet's.
    #[must_use]
    pub fn bound_to_user(&self) -> Option<u64> {
        match self {
            Self::Token(token) if token.reach == Reach::Own => {
                // A program owns nothing: no user has this number.
                Some(token.principal.user_id().unwrap_or(0))
            }
            _ => None,
        }
    }

    /// Decides about the fields of a request. Operators and services are not asked.
    ///
    /// # Errors
    ///
    /// What the decision says.
    pub fn check(
        &self,
        decision: impl FnOnce(&Principal) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        self.principal().map_or(Ok(()), decision)
    }

    /// Returns the URI that names the caller in its certificate. Who calls by a token has none: it names nobody.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::Token(_) => TRUST_DOMAIN.to_owned(),
            Self::Admin { name } => format!("{TRUST_DOMAIN}admin/{name}"),
            Self::Service(service) => format!("{TRUST_DOMAIN}{service}"),
        }
    }

    /// Reads the caller from a certificate whose chain and time were checked; `None` when it names nobody, or
    /// several.
    pub(crate) fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = &certificate
            .subject_alternative_name()
            .ok()??
            .value
            .general_names;
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => Self::from_uri(uri),
            _ => None,
        }
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let name = uri.strip_prefix(TRUST_DOMAIN)?;
        match name.strip_prefix("admin/") {
            Some(name) => is_admin_name(name).then(|| Self::Admin {
                name: name.to_owned(),
            }),
            None => name.parse().ok().map(Self::Service),
        }
    }
}

/// Tells whether an administrator may have this name: it appears in logs and audit trails.
pub(crate) fn is_admin_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_allowed)
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin { name } => write!(formatter, "admin:{name}"),
            Self::Service(service) => write!(formatter, "service:{service}"),
            Self::Token(token) => write!(formatter, "{}", token.principal),
        }
    }
}

#[cfg(test)]
mod tests;
