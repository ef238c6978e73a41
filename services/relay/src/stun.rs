//! STUN Binding (RFC 5389): tells a client the address its datagram came from.
//!
//! Pure: a datagram and its source in, an answer out. Whatever is not a well-formed Binding request with the magic
//! cookie gets no answer. An answer carries one XOR-MAPPED-ADDRESS and nothing else: 32 bytes for IPv4, 44 for IPv6,
//! where the clients' own request has 40, so that answers to forged sources amplify next to nothing. Attributes of the request
//! are not interpreted, but a FINGERPRINT has to be right.

use std::net::{IpAddr, SocketAddr};

const HEADER_LEN: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
const FINGERPRINT: [u8; 2] = [0x80, 0x28];
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Returns the answer to `datagram`, or `None` when it deserves none.
pub(crate) fn answer_datagram(datagram: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let (header, attributes) = datagram.split_first_chunk::<HEADER_LEN>()?;
    let declared = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let well_formed = header[..2] == BINDING_REQUEST
        && header[4..8] == MAGIC_COOKIE
        && declared == attributes.len()
        && has_valid_attributes(datagram);
    well_formed.then(|| binding_success(&header[4..], source))
}

/// Answers whether the attributes fill the message exactly, and a FINGERPRINT, if any, is the last and right.
fn has_valid_attributes(message: &[u8]) -> bool {
    let mut at = HEADER_LEN;
    while at < message.len() {
        let Some((head, rest)) = message[at..].split_first_chunk::<4>() else {
            return false;
        };
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let padded = len.next_multiple_of(4);
        if rest.len() < padded {
            return false;
        }
        if head[..2] == FINGERPRINT {
            let expected = crc32(&message[..at]) ^ FINGERPRINT_XOR;
            return len == 4 && rest.len() == 4 && rest == expected.to_be_bytes();
        }
        at += head.len() + padded;
    }
    true
}

/// `cookie_and_id` is the request's magic cookie and transaction id, the very bytes an address is masked with.
fn binding_success(cookie_and_id: &[u8], source: SocketAddr) -> Vec<u8> {
    let masked = |bytes: &[u8]| -> Vec<u8> {
        bytes
            .iter()
            .zip(cookie_and_id)
            .map(|(byte, mask)| byte ^ mask)
            .collect()
    };
    let (family, address) = match source.ip().to_canonical() {
        IpAddr::V4(v4) => (1, masked(&v4.octets())),
        IpAddr::V6(v6) => (2, masked(&v6.octets())),
    };
    let value_len = u8::try_from(4 + address.len()).expect("an address has at most 16 bytes");

    let mut answer = Vec::with_capacity(HEADER_LEN + 8 + address.len());
    answer.extend_from_slice(&BINDING_SUCCESS);
    answer.extend_from_slice(&[0, 4 + value_len]);
    answer.extend_from_slice(cookie_and_id);
    answer.extend_from_slice(&XOR_MAPPED_ADDRESS);
    answer.extend_from_slice(&[0, value_len, 0, family]);
    answer.extend_from_slice(&masked(&source.port().to_be_bytes()));
    answer.extend_from_slice(&address);
    answer
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
