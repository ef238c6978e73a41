//! Whom clients are passed on by, and what such a proxy says of where they come from. Pure.
//!
//! A balancer that passes bytes on writes a PROXY header before them, version 1 (a line) or 2 (binary). A proxy that speaks
//! HTTP adds the client's address to `X-Forwarded-For`. Either is believed only from the networks in the settings: anybody
//! can write anything.

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

/// The networks whose word about clients is taken.
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

    /// Returns where a request of one of them comes from: the rightmost address in `X-Forwarded-For` that is not one of
    /// them. What is left of it, the client may have written itself. `None`: it says nothing.
    pub(super) fn client_of(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values = headers.get_all("x-forwarded-for").iter().rev();
        let hops = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
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
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies {
            trusted: vec![
                "10.0.0.0/8".parse().expect("a network"),
                "::1/128".parse().expect("a network"),
            ],
            write_headers: false,
        }
    }

    fn client(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("X-Forwarded-For", value.parse().expect("a value"));
        }
        proxies()
            .client_of(&headers)
            .map(|address| address.to_string())
    }

    #[test]
    fn rightmost_address_that_is_no_proxy_is_the_client() {
        assert_eq!(client(&["192.0.2.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(
            client(&["203.0.113.9, 192.0.2.1, 10.1.2.3"]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            client(&["203.0.113.9", "192.0.2.1,10.1.2.3"]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            client(&["192.0.2.1:4711, [::1]:80"]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(client(&["[2001:db8::1]"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(client(&["::ffff:192.0.2.1"]).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn what_can_not_be_read_ends_the_look() {
        assert_eq!(client(&[]), None);
        assert_eq!(client(&["unknown"]), None);
        assert_eq!(
            client(&["192.0.2.1, unknown, 10.0.0.1"]).as_deref(),
            Some("10.0.0.1")
        );
        assert_eq!(client(&["10.0.0.2, 10.0.0.1"]).as_deref(), Some("10.0.0.2"));
        let endless = vec!["10.0.0.1"; 1000].join(",");
        assert_eq!(
            client(&[&format!("192.0.2.1,{endless}")]).as_deref(),
            Some("10.0.0.1")
        );
    }

    #[test]
    fn only_listed_networks_are_proxies() {
        for (address, is_one) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.1", false),
            ("::1", true),
        ] {
            assert_eq!(
                proxies().contain(address.parse().expect("an address")),
                is_one,
                "{address}"
            );
        }
    }

    #[test]
    fn lines_of_version_1_are_read() {
        let read =
            |line: &str| read_line(line.as_bytes()).map(|client| client.map(|it| it.to_string()));
        assert_eq!(
            read("TCP4 192.0.2.1 10.0.0.1 4711 443\r\n"),
            Ok(Some("192.0.2.1:4711".to_owned()))
        );
        assert_eq!(
            read("TCP6 2001:db8::1 ::1 4711 443\r\n"),
            Ok(Some("[2001:db8::1]:4711".to_owned()))
        );
        assert_eq!(read("UNKNOWN\r\n"), Ok(None));
        assert_eq!(read("UNKNOWN ffff:f::1 1 2\r\n"), Ok(None));
        for line in [
            "TCP4 192.0.2.1 10.0.0.1 4711 443\n",
            "TCP4 192.0.2.1 10.0.0.1 70000 443\r\n",
            "TCP4 2001:db8::1 ::1 4711 443\r\n",
            "TCP4 192.0.2.1 10.0.0.1 4711\r\n",
            "TCP4 x 10.0.0.1 4711 443\r\n",
            "\r\n",
        ] {
            assert_eq!(read(line), Err(MalformedProxyHeader), "{line}");
        }
    }

    #[test]
    fn headers_of_version_2_are_read() {
        let head = |version, family, length: u16| {
            let [high, low] = length.to_be_bytes();
            read_head([version, family, high, low])
        };
        let told = |head: ProxyHeader, block: &[u8]| {
            head.client(block)
                .map(|client| client.map(|it| it.to_string()))
        };
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187, 3, 0, 1, 0];
        let tcp4 = head(0x21, 0x11, 16).expect("a head");
        assert_eq!(told(tcp4, &v4), Ok(Some("192.0.2.1:4711".to_owned())));
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 1;
        v6[32..34].copy_from_slice(&[0x12, 0x67]);
        let tcp6 = head(0x21, 0x21, 36).expect("a head");
        assert_eq!(told(tcp6, &v6), Ok(Some("[2001:db8::1]:4711".to_owned())));
        assert_eq!(told(head(0x20, 0, 0).expect("a head"), &[]), Ok(None));
        assert_eq!(told(head(0x21, 0x31, 0).expect("a head"), &[]), Ok(None));
        assert_eq!(told(tcp4, &v4[..9]), Err(MalformedProxyHeader));
        assert_eq!(head(0x11, 0x11, 12), Err(MalformedProxyHeader));
        assert_eq!(head(0x21, 0x11, 2049), Err(MalformedProxyHeader));
    }
}
