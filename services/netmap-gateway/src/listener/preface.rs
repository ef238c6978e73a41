//! Reads the PROXY header that a trusted balancer writes before a connection.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpStream,
    time::timeout,
};

use super::proxies::{self, LINE, LONGEST_LINE, SIGNATURE};

/// How long a balancer may take to write it.
const HEADER_TIME: Duration = Duration::from_secs(1);

/// Reads the header, bounded in size and time; `None`: the balancer speaks for itself.
///
/// # Errors
///
/// When there is none that can be read.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    timeout(HEADER_TIME, read_preface(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_preface(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let malformed =
        |error: proxies::MalformedProxyHeader| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut start = [0; LINE.len()];
    stream.read_exact(&mut start).await?;
    if start == *LINE {
        // Byte by byte: what follows the line is the client's.
        let mut rest = Vec::with_capacity(LONGEST_LINE);
        while rest.last() != Some(&b'\n') && rest.len() < LONGEST_LINE - LINE.len() {
            rest.push(stream.read_u8().await?);
        }
        return proxies::read_line(&rest).map_err(malformed);
    }
    let mut signature = [0; SIGNATURE.len()];
    let (first, others) = signature.split_at_mut(start.len());
    first.copy_from_slice(&start);
    if *first != SIGNATURE[..start.len()] {
        return Err(malformed(proxies::MalformedProxyHeader));
    }
    stream.read_exact(others).await?;
    if signature != *SIGNATURE {
        return Err(malformed(proxies::MalformedProxyHeader));
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let head = proxies::read_head(head).map_err(malformed)?;
    let mut block = vec![0; head.length];
    stream.read_exact(&mut block).await?;
    head.client(&block).map_err(malformed)
}

/// Says whether a connection begins with a PROXY header; nothing is read. Neither TLS nor HTTP begins so.
pub(super) async fn begins_with_header(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; LINE.len()];
    let length = stream.peek(&mut start).await?;
    let start = &start[..length];
    Ok(length > 0 && (SIGNATURE.starts_with(start) || start == LINE))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn header(bytes: &[u8]) -> Result<(Option<String>, Vec<u8>), io::ErrorKind> {
        let (mut near, mut far) = tokio::io::duplex(8192);
        tokio::io::AsyncWriteExt::write_all(&mut far, bytes)
            .await
            .expect("room");
        let client = read_header(&mut near).await.map_err(|error| error.kind())?;
        drop(far);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.expect("the rest");
        Ok((client.map(|client| client.to_string()), rest))
    }

    #[tokio::test(start_paused = true)]
    async fn header_is_read_and_nothing_of_what_follows() {
        let client = Ok((Some("192.0.2.1:4711".to_owned()), b"GET /".to_vec()));
        let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\nGET /";
        assert_eq!(header(line).await, client);
        let addresses = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        let binary = [SIGNATURE, &[0x21, 0x11, 0, 12][..], &addresses, b"GET /"].concat();
        assert_eq!(header(&binary).await, client);
        let local = [SIGNATURE, &[0x20, 0, 0, 0][..]].concat();
        assert_eq!(header(&local).await, Ok((None, Vec::new())));
    }

    #[tokio::test(start_paused = true)]
    async fn anything_else_is_refused_in_time() {
        let endless = [&LINE[..], &[b'x'; 200]].concat();
        let long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff][..]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            &endless,
            &long,
            b"\r\n\r\n\0\r\nQUITX1234",
        ] {
            assert_eq!(header(bytes).await, Err(io::ErrorKind::InvalidData));
        }
        for bytes in [&b""[..], b"PROXY TCP4 ", &SIGNATURE[..]] {
            assert_eq!(header(bytes).await, Err(io::ErrorKind::TimedOut));
        }
    }
}
