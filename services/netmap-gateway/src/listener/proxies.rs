//! Which proxies are trusted, and which client address such a proxy names. Pure.
//!
//! A balancer that passes bytes on writes a PROXY header before them, version 1 (a line) or 2 (binary). A proxy that
//! speaks HTTP adds the client's address to `X-Forwarded-For`. Both are believed only from the networks in the
//! settings, because anybody can write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The longest line of version 1, with its end.
pub(super) const LONGEST_LINE: usize = 107;
/// The longest block of addresses and further values of version 2.
pub(super) const LONGEST_BLOCK: usize = 2048;
/// What version 1 begins with.
pub(super) const LINE: &[u8; 6] = b"PROXY ";
/// What version 2 begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How many addresses of a header are looked at.
const MOST_HOPS: usize = 32;

/// A PROXY header that can not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the PROXY header is not well-formed")]
pub(super) struct MalformedProxyHeader;

/// The networks of trusted proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    pub(crate) trusted: Vec<IpNet>,
    /// Whether they write a PROXY header before each connection.
    pub(crate) write_headers: bool,
}

impl Proxies {
    /// Says whether an address is one of them.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// Returns the client's address in a request from a trusted proxy: the rightmost address in `X-Forwarded-For` that
    /// is not a trusted proxy itself. What is left of it may be made up by the client. `None` when the header names no
    /// address.
    pub(super) fn client_of(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values = headers.get_all("x-forwarded-for").iter().rev();
        // A value that is not text names no address.
        let hops = values.flat_map(|value| value.to_str().unwrap_or("").rsplit(','));
        let mut last = None;
        for hop in hops.take(MOST_HOPS) {
            let Some(address) = hop_address(hop.trim()) else {
                break;
            };
            last = Some(address);
            if !self.contain(address) {
                break;
            }
        }
        last
    }
}

/// Reads an address as proxies write it: alone, with a port, or in brackets.
fn hop_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().or_else(|_| with_port()).ok()?;
    Some(IpAddr::to_canonical(&address))
}

/// Reads what follows `PROXY ` in a line of version 1; `None`: the proxy does not say where it comes from.
pub(super) fn read_line(rest: &[u8]) -> Result<Option<SocketAddr>, MalformedProxyHeader> {
    let line = rest.strip_suffix(b"\r\n").ok_or(MalformedProxyHeader)?;
    let line = str::from_utf8(line).map_err(|_| MalformedProxyHeader)?;
    let words: Vec<&str> = line.split(' ').collect();
    match *words {
        ["UNKNOWN", ..] => Ok(None),
        [family @ ("TCP4" | "TCP6"), source, _, port, _] => {
            let address: IpAddr = source.parse().map_err(|_| MalformedProxyHeader)?;
            let port = port.parse().map_err(|_| MalformedProxyHeader)?;
            match address.is_ipv4() == (family == "TCP4") {
                true => Ok(Some(SocketAddr::new(address.to_canonical(), port))),
                false => Err(MalformedProxyHeader),
            }
        }
        _ => Err(MalformedProxyHeader),
    }
}

/// Reads the four bytes after the signature of version 2: whether it speaks for a client, the family, and how long the
/// block that follows is.
pub(super) fn read_head(
    [version, family, length @ ..]: [u8; 4],
) -> Result<ProxyHeader, MalformedProxyHeader> {
    let length = usize::from(u16::from_be_bytes(length));
    let is_of_client = match version {
        0x20 => false,
        0x21 => true,
        _ => return Err(MalformedProxyHeader),
    };
    if length > LONGEST_BLOCK {
        return Err(MalformedProxyHeader);
    }
    Ok(ProxyHeader {
        is_of_client,
        family,
        length,
    })
}

/// The head of a header of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProxyHeader {
    is_of_client: bool,
    family: u8,
    pub(super) length: usize,
}

impl ProxyHeader {
    /// Reads the client's address from the block; `None`: the proxy speaks for itself, as health checks do.
    pub(super) fn client(self, block: &[u8]) -> Result<Option<SocketAddr>, MalformedProxyHeader> {
        if !self.is_of_client {
            return Ok(None);
        }
        match self.family {
            0x11 => {
                let address: [u8; 4] = bytes_at(block, 0)?;
                let port = u16::from_be_bytes(bytes_at(block, 8)?);
                Ok(Some(SocketAddr::from((Ipv4Addr::from(address), port))))
            }
            0x21 => {
                let address: [u8; 16] = bytes_at(block, 0)?;
                let port = u16::from_be_bytes(bytes_at(block, 32)?);
                let address = IpAddr::from(Ipv6Addr::from(address)).to_canonical();
                Ok(Some(SocketAddr::new(address, port)))
            }
            // Neither TCP over IPv4 nor over IPv6: nothing that is known here.
            _ => Ok(None),
        }
    }
}

/// Returns the bytes of a block from a place on.
fn bytes_at<const N: usize>(block: &[u8], place: usize) -> Result<[u8; N], MalformedProxyHeader> {
    let from = block.get(place..).ok_or(MalformedProxyHeader)?;
    from.first_chunk().copied().ok_or(MalformedProxyHeader)
}

#[cfg(test)]
mod tests;
