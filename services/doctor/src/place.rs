//! Where a server is, as its URL says.

use url::{Host, Url};

/// A text that is no URL of a server.
#[derive(Debug, thiserror::Error)]
#[error("\"{url}\" is no URL of a server, such as https://vpn.example.com: {problem}")]
pub struct InvalidServerUrl {
    url: String,
    problem: String,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerPlace {
    /// The name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether TLS is spoken.
    pub(crate) is_secured: bool,
    /// As the `Host` header has it.
    pub(crate) authority: String,
}

impl ServerPlace {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidServerUrl> {
        let invalid = |problem: &str| InvalidServerUrl {
            url: text.to_owned(),
            problem: problem.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        let is_secured = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(invalid("it begins with neither https:// nor http://")),
        };
        if url.path() != "/" || url.query().is_some() {
            return Err(invalid("clients ask at the root of a host, without a path"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(invalid("it has no host")),
        };
        Ok(Self {
            host,
            port: url.port_or_known_default().unwrap_or(443),
            is_secured,
            authority: url.authority().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
