//! Frames of a map response: `u32` little-endian length, then the payload (protocol section 7.1).

use std::cell::RefCell;

use bytes::{BufMut, Bytes, BytesMut};
use zstd::bulk::Compressor;

/// How payloads are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// JSON as it is.
    None,
    /// Each frame an independent zstd frame, or several in a row.
    Zstd,
}

/// Why a frame can not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The compressor failed, or the payload is not zstd.
    #[error("zstd: {0}")]
    Zstd(#[from] std::io::Error),
    /// The payload is longer than its length field can say, or than the reader allows.
    #[error("a payload of {0} bytes is too long")]
    Length(usize),
}

/// The level that is fastest and smallest for netmaps.
const LEVEL: i32 = 1;

thread_local! {
    /// The compressor of this thread: to make one costs more than most frames.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Returns a payload, compressed as wanted.
///
/// # Errors
///
/// When the compressor fails.
pub fn encode_payload(json: &[u8], compression: Compression) -> Result<Vec<u8>, FrameError> {
    match compression {
        Compression::None => Ok(json.to_vec()),
        Compression::Zstd => COMPRESSOR.with_borrow_mut(|kept| {
            let compressor = match kept {
                Some(compressor) => compressor,
                None => kept.insert(Compressor::new(LEVEL)?),
            };
            Ok(compressor.compress(json)?)
        }),
    }
}

/// Returns a frame around payload parts that belong together.
///
/// # Errors
///
/// When the parts are longer than 4 GiB together.
pub fn encode_frame(parts: &[&[u8]]) -> Result<Bytes, FrameError> {
    let length = parts.iter().map(|part| part.len()).sum();
    let field = u32::try_from(length).map_err(|_| FrameError::Length(length))?;
    let mut frame = BytesMut::with_capacity(4 + length);
    frame.put_u32_le(field);
    parts.iter().for_each(|part| frame.put_slice(part));
    Ok(frame.freeze())
}

/// Takes the first whole frame out of `buffer` and returns its JSON, at most `limit` bytes; for clients.
///
/// # Errors
///
/// When it is longer than the limit, or not zstd.
pub fn decode_frame(
    buffer: &mut BytesMut,
    compression: Compression,
    limit: usize,
) -> Result<Option<Vec<u8>>, FrameError> {
    let Some(field) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*field)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FrameError::Length(length));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let payload = buffer.split_to(4 + length).split_off(4);
    match compression {
        Compression::None => Ok(Some(payload.to_vec())),
        Compression::Zstd => {
            use std::io::Read as _;
            let mut json = Vec::new();
            let reader = zstd::stream::read::Decoder::new(&payload[..])?;
            reader.take(limit as u64 + 1).read_to_end(&mut json)?;
            if json.len() > limit {
                Err(FrameError::Length(json.len()))
            } else {
                Ok(Some(json))
            }
        }
    }
}

#[cfg(test)]
mod tests;
