//! DERP frames: `kind u8 || length u32 big-endian || body` (protocol §9.4).
//!
//! Pure: bytes in, bytes out. A length is judged by [`DerpHeader::decode`] before anyone makes room for the body.

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
pub(crate) enum FrameKind {
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
pub(crate) enum PeerGoneReason {
    Disconnected = 0,
    NotHere = 1,
}

/// A frame that ends the connection it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DerpFrameError {
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
pub(crate) struct DerpHeader {
    /// `None` for a frame to read past: kinds of later protocol versions.
    pub(crate) kind: Option<FrameKind>,
    /// Length of the body, in bytes.
    pub(crate) len: usize,
}

impl DerpHeader {
    /// Judges a frame an admitted client sends.
    pub(crate) fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, DerpFrameError> {
        let (kind, min, max) = match bytes[0] {
            0x04 => (Some(FrameKind::SendPacket), KEY_LEN, KEY_LEN + MAX_PACKET),
            0x07 => (Some(FrameKind::NotePreferred), 1, 1),
            0x12 => (Some(FrameKind::Ping), 8, MAX_PING),
            0x13 => (Some(FrameKind::Pong), 8, MAX_PING),
            mesh @ (0x09 | 0x0a | 0x10 | 0x11) => return Err(DerpFrameError::Mesh(mesh)),
            _ => (None, 0, MAX_PACKET),
        };
        check_length(bytes, kind, min, max)
    }

    /// Judges the first frame of a connection: ClientInfo and nothing else.
    pub(crate) fn decode_first(bytes: [u8; HEADER_LEN]) -> Result<Self, DerpFrameError> {
        if bytes[0] != FrameKind::ClientInfo as u8 {
            return Err(DerpFrameError::NotClientInfo(bytes[0]));
        }
        check_length(bytes, Some(FrameKind::ClientInfo), KEY_LEN, MAX_CLIENT_INFO)
    }
}

fn check_length(
    [raw, length @ ..]: [u8; HEADER_LEN],
    kind: Option<FrameKind>,
    min: usize,
    max: usize,
) -> Result<DerpHeader, DerpFrameError> {
    let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if (min..=max).contains(&len) {
        Ok(DerpHeader { kind, len })
    } else {
        Err(DerpFrameError::Length {
            kind: raw,
            len,
            min,
            max,
        })
    }
}

/// Turns a whole SendPacket frame into the RecvPacket frame of its destination, in place: both are a key and a
/// packet, so only the kind and the key change. Returns the destination.
pub(crate) fn readdress_packet(frame: &mut [u8], source: &[u8; KEY_LEN]) -> Option<[u8; KEY_LEN]> {
    let (kind, rest) = frame.split_first_mut()?;
    let key = rest
        .get_mut(HEADER_LEN - 1..)?
        .first_chunk_mut::<KEY_LEN>()?;
    *kind = FrameKind::RecvPacket as u8;
    Some(std::mem::replace(key, *source))
}

/// ServerKey: the relay's greeting.
pub(crate) fn server_key_frame(key: &[u8; KEY_LEN]) -> Bytes {
    encode_frame(FrameKind::ServerKey, &[MAGIC, key])
}

/// ServerInfo: `sealed` is a nonce and the box made with it.
pub(crate) fn server_info_frame(sealed: &[u8]) -> Bytes {
    encode_frame(FrameKind::ServerInfo, &[sealed])
}

/// KeepAlive: says nothing but that the relay lives.
pub(crate) fn keep_alive_frame() -> Bytes {
    encode_frame(FrameKind::KeepAlive, &[])
}

/// PeerGone: `key` can not be reached here.
pub(crate) fn peer_gone_frame(key: &[u8; KEY_LEN], reason: PeerGoneReason) -> Bytes {
    encode_frame(FrameKind::PeerGone, &[key, &[reason as u8]])
}

/// Ping: asks the client for a Pong with the same payload.
pub(crate) fn ping_frame(payload: [u8; 8]) -> Bytes {
    encode_frame(FrameKind::Ping, &[&payload])
}

/// Pong: the answer to a Ping whose body is `ping`.
pub(crate) fn pong_frame(ping: &[u8]) -> Bytes {
    encode_frame(FrameKind::Pong, &[&ping[..ping.len().min(8)]])
}

/// Restarting: asks the client to reconnect after `reconnect_in` ms, trying for `try_for` ms.
pub(crate) fn restarting_frame(reconnect_in: u32, try_for: u32) -> Bytes {
    encode_frame(
        FrameKind::Restarting,
        &[&reconnect_in.to_be_bytes(), &try_for.to_be_bytes()],
    )
}

fn encode_frame(kind: FrameKind, parts: &[&[u8]]) -> Bytes {
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
