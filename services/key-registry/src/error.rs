//! Why the registry refuses, in its callers' words.

use std::time::Duration;

use bowline_db::DatabaseError;
use bowline_proto::access::Denial;
use bowline_service_kit::{Code, ServiceError};
use ipnet::Ipv4Net;
use tonic::Status;

use crate::domain::{address_pool::AddressPool, attributes::AttributeRefusal};

/// Why a request was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// A field can not be right.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong and what is right.
        problem: String,
    },
    /// The name belongs to another node.
    #[error("the name \"{0}\" is in use: choose another")]
    NameInUse(String),
    /// What the request names is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller may not do this.
    #[error("{0}")]
    Denied(#[from] Denial),
    /// The state does not allow it.
    #[error("{0}")]
    Refused(String),
    /// An address pool is used up; the text names it.
    #[error("{0}")]
    AddressesExhausted(String),
    /// There are as many nodes as there may be.
    #[error("{0}")]
    TooManyNodes(String),
    /// Attributes are not changed.
    #[error("{0}")]
    Attributes(#[from] AttributeRefusal),
    /// It was done many times lately.
    #[error("{text}")]
    TooOften {
        /// The sentence for the caller.
        text: String,
        /// How long until it may be done again.
        wait: Duration,
    },
    /// Another service can not be asked.
    #[error("{}", describe_failure(service, status))]
    Service {
        /// Which.
        service: &'static str,
        /// What it or the transport said.
        status: Box<Status>,
    },
    /// The database failed.
    #[error("the key store can not answer: {0}")]
    Database(#[from] DatabaseError),
}

impl RegistryError {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }

    pub(crate) fn refused(text: &str) -> Self {
        Self::Refused(text.to_owned())
    }

    /// The tailnet's own pool has no address left.
    pub(crate) fn tailnet_exhausted(pool: AddressPool) -> Self {
        Self::AddressesExhausted(format!(
            "the tailnet's address pool {} has no address left: widen it, or delete nodes",
            pool.ipv4()
        ))
    }

    /// The pools that a policy wants have no address left.
    pub(crate) fn policy_exhausted(pools: &[Ipv4Net]) -> Self {
        let pools: Vec<_> = pools.iter().map(ToString::to_string).collect();
        Self::AddressesExhausted(format!(
            "the policy's ipPool [{}] has no address left: widen it under nodeAttrs, or delete nodes",
            pools.join(", ")
        ))
    }

    /// Says whether a row conflicts with this constraint.
    pub(crate) fn is_conflict(&self, wanted: &str) -> bool {
        matches!(self, Self::Database(DatabaseError::Conflict { constraint }) if constraint == wanted)
    }

    pub(crate) fn from_service(service: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::Service {
            service,
            status: Box::new(status),
        }
    }
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

/// Returns what another service's refusal says: its own words where it has reached a limit, for devices show them.
fn describe_failure(service: &str, status: &Status) -> String {
    match status.code() {
        tonic::Code::ResourceExhausted => status.message().to_owned(),
        _ => format!("{service} can not be asked: {}", status.message()),
    }
}

impl ServiceError for RegistryError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::NameInUse(_) => Code::AlreadyExists,
            Self::NotFound(_) => Code::NotFound,
            Self::Denied(_) => Code::PermissionDenied,
            Self::Refused(_) => Code::FailedPrecondition,
            Self::Attributes(refusal) => match refusal {
                AttributeRefusal::NotByNode(_) | AttributeRefusal::NotInGoodStanding => {
                    Code::PermissionDenied
                }
                AttributeRefusal::OtherType { .. } | AttributeRefusal::TooMany { .. } => {
                    Code::FailedPrecondition
                }
            },
            Self::AddressesExhausted(_) | Self::TooManyNodes(_) | Self::TooOften { .. } => {
                Code::ResourceExhausted
            }
            Self::Service { status, .. } => match status.code() {
                tonic::Code::ResourceExhausted => Code::ResourceExhausted,
                _ => Code::Unavailable,
            },
            Self::Database(DatabaseError::Unavailable { .. }) => Code::Unavailable,
            Self::Database(_) => Code::Internal,
        }
    }

    fn retry_after(&self) -> Duration {
        let said = match self {
            Self::Service { status, .. } => bowline_service_kit::retry_after(status),
            Self::TooOften { wait, .. } => Some(*wait),
            _ => None,
        };
        said.unwrap_or(Duration::from_secs(1))
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "INVALID",
            Self::NameInUse(_) => "NAME_IN_USE",
            Self::NotFound(_) => "NOT_FOUND",
            Self::Denied(_) => "DENIED",
            Self::Refused(_) => "REFUSED",
            Self::Attributes(refusal) => match refusal {
                AttributeRefusal::OtherType { .. } => "ATTRIBUTE_TYPE",
                AttributeRefusal::TooMany { .. } => "TOO_MANY_ATTRIBUTES",
                AttributeRefusal::NotByNode(_) => "ATTRIBUTE_NOT_BY_NODE",
                AttributeRefusal::NotInGoodStanding => "NODE_NOT_IN_GOOD_STANDING",
            },
            Self::AddressesExhausted(_) => "ADDRESSES_EXHAUSTED",
            Self::TooManyNodes(_) => "TOO_MANY_NODES",
            Self::TooOften { .. } => "TOO_OFTEN",
            Self::Service { .. } => "SERVICE",
            Self::Database(_) => "DATABASE",
        }
    }
}

impl From<RegistryError> for Status {
    fn from(error: RegistryError) -> Self {
        bowline_service_kit::to_status(&error)
    }
}

#[cfg(test)]
mod tests;
