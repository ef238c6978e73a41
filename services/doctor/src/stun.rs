//! A STUN Binding request (RFC 5389), as clients send it, and its answer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bowline_clock::random_bytes;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

use crate::finding::{Finding, Judgement};

/// How long an answer to one request is waited for, and how many requests there are.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 3;

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
/// Relays of others answer nobody who does not say this, and close with a fingerprint.
const SOFTWARE: [u8; 12] = *b"\x80\x22\x00\x08tailnode";
const FINGERPRINT: [u8; 4] = [0x80, 0x28, 0x00, 0x04];
const FINGERPRINT_MASK: u32 = 0x5354_554e;

/// Asks a relay which address this machine has.
pub(crate) async fn check_stun(address: SocketAddr, shown_as: &str) -> Finding {
    match ask(address).await {
        Ok((mapped, took)) => {
            let text = format!("port {} sees this machine as {mapped}", address.port());
            Judgement::ok(text).of("stun", shown_as, Some(took))
        }
        Err(error) => {
            let judgement = Judgement::failed(format!(
                "no answer from UDP port {} ({error}): let UDP through to the relay, and forward it where there is NAT. Without it clients do not \
                 find direct ways to each other",
                address.port()
            ));
            judgement.of("stun", shown_as, None)
        }
    }
}

async fn ask(address: SocketAddr) -> io::Result<(SocketAddr, Duration)> {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    let mut problem = io::Error::other("nothing came");
    for _ in 0..TRIES {
        let id = random_bytes();
        let begin = Instant::now();
        match timeout(PATIENCE, ask_once(&socket, id)).await {
            Ok(Ok(mapped)) => return Ok((mapped, begin.elapsed())),
            Ok(Err(error)) => problem = error,
            Err(_) => {}
        }
    }
    Err(problem)
}

async fn ask_once(socket: &UdpSocket, id: [u8; 12]) -> io::Result<SocketAddr> {
    socket.send(&binding_request(id)).await?;
    let mut datagram = [0; 512];
    loop {
        let length = socket.recv(&mut datagram).await?;
        if let Some(mapped) = datagram.get(..length).and_then(|it| mapped_address(it, id)) {
            return Ok(mapped);
        }
    }
}

fn binding_request(id: [u8; 12]) -> Vec<u8> {
    let attributes = SOFTWARE.len() + FINGERPRINT.len() + 4;
    let length = u8::try_from(attributes).unwrap_or_default();
    let mut request = vec![0x00, 0x01, 0x00, length];
    request.extend_from_slice(&COOKIE);
    request.extend_from_slice(&id);
    request.extend_from_slice(&SOFTWARE);
    let fingerprint = crc32(&request) ^ FINGERPRINT_MASK;
    request.extend_from_slice(&FINGERPRINT);
    request.extend_from_slice(&fingerprint.to_be_bytes());
    request
}

/// Returns the address in an answer to the request with an id.
fn mapped_address(answer: &[u8], id: [u8; 12]) -> Option<SocketAddr> {
    let (header, mut attributes) = answer.split_first_chunk::<HEADER>()?;
    if header[..2] != BINDING_SUCCESS || header[4..8] != COOKIE || header[8..] != id {
        return None;
    }
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if head[..2] == XOR_MAPPED_ADDRESS {
            return read_address(value, &header[4..]);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Reads an address that is masked with the magic cookie and the id.
fn read_address(value: &[u8], mask: &[u8]) -> Option<SocketAddr> {
    let (head, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2] ^ mask[0], head[3] ^ mask[1]]);
    let bytes: Vec<_> = address
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let ip = match head[1] {
        1 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        2 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// CRC-32 of ITU V.42, as FINGERPRINT uses it; bit by bit, since messages are short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

#[cfg(test)]
mod tests;
