//! DERP frames: `kind u8 || length u32 big-endian || body` (protocol §9.4).
//!
//! Pure: bytes in, bytes out. A length is judged by [`Header::decode`] before anyone makes room for the body.

use bytes::Bytes;

/// Length of a frame's header.
pub(crate) const HEADER_LEN: usize = 5;
/// Length of a node key in a body.
pub(crate) const KEY_LEN: usize = 32;
/// Longest packet a client may send, without its destination.
pub(crate) const MAX_PACKET: usize = 64 << 10;
/// Longest ClientInfo body: clients send some hundred bytes, and it is read before they have proven anything.
pub(crate) const MAX_CLIENT_INFO: usize = 4 << 10;

/// Longest ping: clients send 8 bytes, only 8 are echoed, more is read past.
const MAX_PING: usize = 1000;
/// What the ServerKey body begins with: "DERP" and a key as UTF-8.
const MAGIC: &[u8; 8] = b"DERP\xf0\x9f\x94\x91";

/// What a frame is; the numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    ServerKey = 0x01,
    ClientInfo = 0x02,
    ServerInfo = 0x03,
    SendPacket = 0x04,
    RecvPacket = 0x05,
    KeepAlive = 0x06,
    NotePreferred = 0x07,
    PeerGone = 0x08,
    Ping = 0x12,
    Pong = 0x13,
    Restarting = 0x15,
}

/// Why a peer can not be reached through this relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Gone {
    Disconnected = 0,
    NotHere = 1,
}

/// A frame that ends the connection it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame {kind:#04x} has {len} bytes, {min} to {max} are allowed")]
    Length {
        kind: u8,
        len: usize,
        min: usize,
        max: usize,
    },
    #[error("frame {0:#04x} belongs to a mesh of relays, which this relay is not part of")]
    Mesh(u8),
    #[error("frame {0:#04x} came where a ClientInfo frame was due")]
    NotClientInfo(u8),
}

/// A client's frame to come, whose length is within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `None` for a frame to read past: kinds of later protocol versions.
    pub(crate) kind: Option<Kind>,
    /// Length of the body, in bytes.
    pub(crate) len: usize,
}

impl Header {
    /// Judges a frame an admitted client sends.
    pub(crate) fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let (kind, min, max) = match bytes[0] {
            0x04 => (Some(Kind::SendPacket), KEY_LEN, KEY_LEN + MAX_PACKET),
            0x07 => (Some(Kind::NotePreferred), 1, 1),
            0x12 => (Some(Kind::Ping), 8, MAX_PING),
            0x13 => (Some(Kind::Pong), 8, MAX_PING),
            mesh @ (0x09 | 0x0a | 0x10 | 0x11) => return Err(FrameError::Mesh(mesh)),
            _ => (None, 0, MAX_PACKET),
        };
        bounded(bytes, kind, min, max)
    }

    /// Judges the first frame of a connection: ClientInfo and nothing else.
    pub(crate) fn decode_first(bytes: [u8; HEADER_LEN]) -> Result<Self, FrameError> {
        if bytes[0] != Kind::ClientInfo as u8 {
            return Err(FrameError::NotClientInfo(bytes[0]));
        }
        bounded(bytes, Some(Kind::ClientInfo), KEY_LEN, MAX_CLIENT_INFO)
    }
}

fn bounded(
    [raw, length @ ..]: [u8; HEADER_LEN],
    kind: Option<Kind>,
    min: usize,
    max: usize,
) -> Result<Header, FrameError> {
    let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if (min..=max).contains(&len) {
        Ok(Header { kind, len })
    } else {
        Err(FrameError::Length {
            kind: raw,
            len,
            min,
            max,
        })
    }
}

/// Turns a whole SendPacket frame into the RecvPacket frame of its destination, in place: both are a key and a
/// packet, so only the kind and the key change. Returns the destination.
pub(crate) fn readdress(frame: &mut [u8], source: &[u8; KEY_LEN]) -> Option<[u8; KEY_LEN]> {
    let (kind, rest) = frame.split_first_mut()?;
    let key = rest
        .get_mut(HEADER_LEN - 1..)?
        .first_chunk_mut::<KEY_LEN>()?;
    *kind = Kind::RecvPacket as u8;
    Some(std::mem::replace(key, *source))
}

/// ServerKey: the relay's greeting.
pub(crate) fn server_key(key: &[u8; KEY_LEN]) -> Bytes {
    encode(Kind::ServerKey, &[MAGIC, key])
}

/// ServerInfo: `sealed` is a nonce and the box made with it.
pub(crate) fn server_info(sealed: &[u8]) -> Bytes {
    encode(Kind::ServerInfo, &[sealed])
}

/// KeepAlive: says nothing but that the relay lives.
pub(crate) fn keep_alive() -> Bytes {
    encode(Kind::KeepAlive, &[])
}

/// PeerGone: `key` can not be reached here.
pub(crate) fn peer_gone(key: &[u8; KEY_LEN], reason: Gone) -> Bytes {
    encode(Kind::PeerGone, &[key, &[reason as u8]])
}

/// Ping: asks the client for a Pong with the same payload.
pub(crate) fn ping(payload: [u8; 8]) -> Bytes {
    encode(Kind::Ping, &[&payload])
}

/// Pong: the answer to a Ping whose body is `ping`.
pub(crate) fn pong(ping: &[u8]) -> Bytes {
    encode(Kind::Pong, &[&ping[..ping.len().min(8)]])
}

/// Restarting: asks the client to reconnect after `reconnect_in` ms, trying for `try_for` ms.
pub(crate) fn restarting(reconnect_in: u32, try_for: u32) -> Bytes {
    encode(
        Kind::Restarting,
        &[&reconnect_in.to_be_bytes(), &try_for.to_be_bytes()],
    )
}

fn encode(kind: Kind, parts: &[&[u8]]) -> Bytes {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let wire_len = u32::try_from(len).expect("the relay's own frames are short");
    let mut frame = Vec::with_capacity(HEADER_LEN + len);
    frame.push(kind as u8);
    frame.extend_from_slice(&wire_len.to_be_bytes());
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame.into()
}

#[cfg(test)]
mod tests;
