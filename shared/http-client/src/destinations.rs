//! Which addresses a client connects to.

use std::{
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use ipnet::IpNet;
use tower::{Service, ServiceExt as _};

use crate::HttpError;

/// Which addresses a client connects to.
#[derive(Clone, Debug)]
pub enum Destinations {
    /// All: the URL comes from whoever runs the server.
    Anywhere,
    /// Public addresses, and these networks: the URL comes from an administrator of one tailnet, who must not reach what only
    /// the server can.
    Public {
        /// Networks that are allowed although they are not public.
        also: Vec<IpNet>,
    },
}

/// The networks of the IANA registries of special-purpose addresses that are not globally reachable, or that carry an IPv4
/// address inside (6to4), so that a public form could lead to a private address.
const NOT_PUBLIC: [&str; 20] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
];

static NOT_PUBLIC_NETWORKS: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    NOT_PUBLIC
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
});

/// Returns whether everybody on the internet reaches the address, if anybody does.
fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_unicast = match address {
        IpAddr::V4(_) => true,
        // All global unicast addresses begin with the bits 001.
        IpAddr::V6(address) => address.segments()[0] & 0xe000 == 0x2000,
    };
    is_unicast
        && !NOT_PUBLIC_NETWORKS
            .iter()
            .any(|network| network.contains(&address))
}

impl Destinations {
    /// Returns whether the client may connect to an address.
    #[must_use]
    pub fn allow(&self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Public { also } => {
                let address = address.to_canonical();
                is_public(address) || also.iter().any(|network| network.contains(&address))
            }
        }
    }

    /// Refuses a host that is written as an address, where it may not be asked. A name is judged when it is resolved.
    pub(crate) fn check_literal(&self, host: &str) -> Result<(), HttpError> {
        match host.parse::<IpAddr>() {
            Ok(address) if !self.allow(address) => Err(refuse_address(host.to_owned(), address)),
            _ => Ok(()),
        }
    }
}

/// Whoever named the host is not told which address it has.
fn refuse_address(host: String, address: IpAddr) -> HttpError {
    tracing::warn!(host, %address, "a host is not connected to: its address is not public");
    HttpError::NotPublic { host, address }
}

/// Resolves names and leaves out the addresses that may not be asked. What it returns is what is connected to: a name that
/// resolves to something else a moment later gains nothing.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    names: GaiResolver,
    destinations: Destinations,
}

impl GuardedResolver {
    pub(crate) fn new(destinations: Destinations) -> Self {
        Self {
            names: GaiResolver::new(),
            destinations,
        }
    }
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<Self::Response, HttpError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self {
            names,
            destinations,
        } = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = names.oneshot(name).await;
            let found = found.map_err(|error| HttpError::Name(host.clone(), error))?;
            let (allowed, left_out): (Vec<_>, Vec<_>) =
                found.partition(|found| destinations.allow(found.ip()));
            match left_out.first() {
                Some(address) if allowed.is_empty() => Err(refuse_address(host, address.ip())),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests;
