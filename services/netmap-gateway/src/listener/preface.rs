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

/// Reads the header, bounded in size and time; `None`: the balancer made the connection for itself, as for a health
/// check.
///
/// # Errors
///
/// When there is no header, or it is malformed or late.
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
mod tests;
