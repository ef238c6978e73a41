//! Why there is no answer.

use std::{net::IpAddr, time::Duration};

use http::Uri;

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL can not be asked: it has no host, or a scheme other than `http` and `https`.
    #[error("{0} is no http or https URL with a host")]
    Url(Uri),
    /// The host is, or resolves to, an address that this client does not connect to. Which one, is told in the log alone: it says
    /// what a private network has, and the error is shown to whoever named the host.
    #[error(
        "the address of {host} is not public: allow its network if that is meant; the log of the server names it"
    )]
    NotPublic {
        /// The host asked for.
        host: String,
        /// The first address that was left out.
        address: IpAddr,
    },
    /// The name can not be resolved.
    #[error("the name {0} has no address: {1}")]
    Name(String, #[source] std::io::Error),
    /// The machine's store of certificate authorities is empty, so that no certificate can be checked.
    #[error(
        "this machine trusts no certificate authority: install some, or name a file of them in SSL_CERT_FILE"
    )]
    NoAuthorities,
    /// The server can not be reached, or breaks the connection or the protocol.
    #[error("the connection failed: {0}")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server says that it has failed. Whoever asks decides which statuses are that.
    #[error("the server has failed, with status {0}")]
    Failed(u16),
    /// The answer redirects to another origin, or too often.
    #[error("it redirects to {0}, which is not followed")]
    Redirect(String),
    /// The body is longer than the limit, or ends early.
    #[error("its body can not be read (at most {longest} bytes are): {source}")]
    Body {
        /// The limit, in bytes.
        longest: usize,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not complete in time.
    #[error("no answer within {} seconds", .0.as_secs_f32())]
    Deadline(Duration),
}

impl HttpError {
    /// Says whether the request may have reached the server.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Url(_) | Self::NotPublic { .. } | Self::Name(..) | Self::NoAuthorities => false,
            Self::Connection(error) => {
                let error = error.downcast_ref::<hyper_util::client::legacy::Error>();
                !error.is_some_and(hyper_util::client::legacy::Error::is_connect)
            }
            Self::Failed(_) | Self::Redirect(_) | Self::Body { .. } | Self::Deadline(_) => true,
        }
    }
}
